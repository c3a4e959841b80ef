"""All calls into DeepSpeed: start, wrap, step, gather. On CUDA with NCCL, on CPU with gloo."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed.nn.functional  # before there is a process group, as in evaluate.py
from torch import Tensor, nn
from torch import distributed as dist
from torch.utils._mode_utils import no_dispatch

from infra.compat.cpu_products import use_onednn
from trainer_bridge.checkpoints.building import fill
from trainer_bridge.data.settings import cores_of_rank
from trainer_bridge.models.blocks import checkpoint_blocks, compile_blocks, embed_in_bf16
from trainer_bridge.optimizer import AVERAGE, AdamW, ClippedAdamW
from trainer_bridge.ranks import rank_environment
from trainer_bridge.schedule import SCHEDULES
from trainer_bridge.stages.settings import Experiment, OptimizerSettings
from trainer_bridge.zero_shares import own_piece, share_weights

LOCK_SECONDS = 0.2  # far more than gloo's threads take
BUCKET = 500_000_000  # most gradients that are summed over ranks at once


def start() -> torch.device:
    """Joins the process group of the launcher, or one of this process alone; returns the rank's device."""
    os.environ.update(rank_environment(os.environ))
    cuda = torch.cuda.is_available()
    if not cuda:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        torch.set_num_threads(cores_of_rank())  # with a thread per core each, ranks would slow each other down
        use_onednn()
    import deepspeed

    if not cuda:
        # This optional op is compiled for half a minute at the first start and replaces gloo for nothing we need.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.utils.logging.logger.setLevel("WARNING")
    deepspeed.init_distributed(dist_backend="nccl" if cuda else "gloo", verbose=False)
    return rank_device()


def stop() -> None:
    """Leaves the process group, and all that DeepSpeed remembers of it: another may follow in this process."""
    import deepspeed

    # DeepSpeed's objects keep the group, and so gloo's threads, which need the interpreter's lock to free their last tensors.
    # It is left to them for a while here: a process that ends while they wait for it is aborted.
    time.sleep(LOCK_SECONDS)
    deepspeed.comm.destroy_process_group()


def initialise(
    model: nn.Module, groups: list[dict[str, Any]], experiment: Experiment, world: int, tensors: dict[str, Tensor] | None = None
) -> Any:
    """The DeepSpeed engine around the model, with AdamW over the parameter groups.

    A model on the meta device is filled first, as `fill` says: under ZeRO-3 each rank keeps its share of every module.
    """
    import deepspeed

    run, optimizer = experiment.run, experiment.optimizer
    settings = _settings(experiment, world, sum(parameter.numel() for group in groups for parameter in group["params"]))
    _restore_linear()
    fill(model, tensors or {}, rank_device(), keep_shares(settings) if run.zero == 3 else len)
    if run.precision == "bf16":
        embed_in_bf16(model)
    checkpoint_blocks(model, run.activation_checkpointing)
    if run.compile:
        compile_blocks(model)
    for group in groups:
        group["peak_lr"] = group["lr"]
    adamw = (
        AdamW(groups, optimizer.betas, optimizer.ema)
        if run.zero
        else ClippedAdamW(groups, optimizer.betas, optimizer.ema, optimizer.clip_norm)
    )
    engine, *_ = deepspeed.initialize(model=model, optimizer=adamw, config=settings)
    if run.zero == 0 and world == 1:
        engine.enable_backward_allreduce = False  # it would copy all gradients twice, to add nothing to them
    if run.zero == 3 and run.activation_checkpointing == "selective":
        _hide_gathering(engine)
    return engine


def _hide_gathering(engine: Any) -> None:
    """Keeps ZeRO-3's gathering of parameters from selective checkpointing, which expects a block's operations to repeat."""
    coordinator = engine.optimizer.parameter_offload.get_param_coordinator()
    for name in ("fetch_sub_module", "release_sub_module"):
        setattr(coordinator, name, partial(_unseen, getattr(coordinator, name)))


def _unseen(method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    with no_dispatch():
        return method(*arguments, **options)


def _settings(experiment: Experiment, world: int, trained: int) -> dict[str, Any]:
    """DeepSpeed's configuration; `trained` is the number of trained parameters."""
    run, batch = experiment.run, experiment.data.batch
    micro_batch = min(run.micro_batch, batch // world)
    return {
        # Nothing depends on these two: they may change from phase to phase, and `step` is told which micro-batch is the last.
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": math.ceil(batch // world / micro_batch),
        "gradient_clipping": experiment.optimizer.clip_norm if run.zero else 0.0,  # without ZeRO our optimizer does it
        "zero_optimization": {
            "stage": run.zero,
            # ZeRO lays all parameters end to end; a compiled block is shared by blocks whose parameters must lie at multiples of
            # 16 bytes as its own did, or a GPU stops with "misaligned address".
            "parameter_alignment": True,
            "reduce_bucket_size": min(BUCKET, max(1, trained)),  # allocated whole
            # ZeRO-3's own linear layer adds the bias in place, to a product that selective checkpointing has kept.
            "memory_efficient_linear": run.activation_checkpointing != "selective",
        },
        # Not DeepSpeed's `bf16`, which rounds all weights before they are trained, those that are frozen and the logit scale too.
        # Gradients are summed over ranks in float32: no module is safe in lower precision.
        "torch_autocast": {"enabled": run.precision == "bf16", "dtype": "bfloat16", "lower_precision_safe_modules": []},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1 << 30,
        "wall_clock_breakdown": False,
    }


def rank_device() -> torch.device:
    """The GPU of this rank, or the CPU where there is none."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else torch.device("cpu")


def keep_shares(settings: dict[str, Any]) -> Callable[[list[nn.Parameter]], None]:
    """A function that leaves each rank its share of the parameters it is called with; the values are those of rank 0."""
    import deepspeed

    def keep(parameters: list[nn.Parameter]) -> None:
        if parameters:
            deepspeed.zero.Init(module=nn.ParameterList(parameters), config_dict_or_path=settings)

    return keep


def _restore_linear() -> None:
    """Undoes what an engine before in this process did to torch under ZeRO-3: put a linear layer of DeepSpeed's in place."""
    from deepspeed.runtime.zero.partition_parameters import InsertPostInitMethodToModuleSubClasses

    torch.nn.functional.linear = getattr(InsertPostInitMethodToModuleSubClasses, "linear_bk", torch.nn.functional.linear)


def set_learning_rates(engine: Any, optimizer: OptimizerSettings, progress: float, rate: float = 1.0) -> float:
    """Sets every group's learning rate for a progress of 0 … 1, times `rate`; returns the first group's."""
    factor = rate * SCHEDULES[optimizer.schedule](int(progress * optimizer.steps), optimizer.warmup, optimizer.steps)
    groups = engine.optimizer.param_groups
    for group in groups:
        group["lr"] = group["peak_lr"] * factor
    return float(groups[0]["lr"])


def step(engine: Any, loss: Tensor, last: bool) -> None:
    """Passes a micro-batch's part of the loss back; after the `last` one of a step, updates the weights.

    The gradient is that of the sum of all parts over micro-batches and ranks: DeepSpeed would take means. Where the loss or the
    gradient is not finite on any rank, the step is skipped on all: weights, moments and average stay as they are.
    """
    finite = 1 + 0 * loss.detach()  # NaN for a loss that is not: so is its gradient then, and the norm over all ranks
    engine.set_gradient_accumulation_boundary(last)
    engine.backward(loss * finite * dist.get_world_size(), scale_wrt_gas=False)
    engine.step()


def gradient_norm(engine: Any) -> float:
    """The norm of the last step's gradient before it was clipped; infinite, or NaN, where the step was skipped."""
    return float(engine.get_global_grad_norm())


def weights_are_finite(engine: Any) -> bool:
    """Whether no weight that is trained is NaN or infinite; every rank must call it."""
    bad = sum((~torch.isfinite(own_piece(p))).sum() for p in engine.module.parameters() if p.requires_grad)
    return total({"bad": torch.as_tensor(bad, device=engine.device)})["bad"] == 0


@contextmanager
def averaged_weights(engine: Any) -> Iterator[None]:
    """The engine's weights are their moving average within, where one is kept; afterwards they are as before."""
    _swap_average(engine)
    try:
        yield
    finally:
        _swap_average(engine)


def _swap_average(engine: Any) -> None:
    """Exchanges the weights and their average, on the ranks that update them, and tells all ranks."""
    zero, optimizer = engine.zero_optimization_stage(), engine.optimizer
    adamw = optimizer.optimizer if zero else optimizer
    if not adamw.average:  # one may still lie in a state that was saved when there was
        return
    for weights, state in adamw.state.items():
        before = weights.detach().clone()
        weights.data.copy_(state[AVERAGE])
        state[AVERAGE].copy_(before)
    share_weights(engine)


@contextmanager
def evaluating(engine: Any) -> Iterator[None]:
    """The model in evaluation mode, and no gradients."""
    engine.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        engine.train()


def run(engine: Any, function: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
    """`function(inputs …)`, which uses parts of the model, as a forward pass of the engine: every rank must call it.

    ZeRO-3 gathers weights that are used within the model's own `forward`, and autocast is entered there. Figures use its parts in
    other ways than training does. So the function takes the place of `forward` for one call.
    """
    engine.module.forward = function
    try:
        return engine(*inputs, **named)
    finally:
        del engine.module.forward


def total(values: Mapping[str, Tensor]) -> dict[str, float]:
    """The sum of each scalar over ranks; they lie on the rank's device."""
    summed = torch.stack(list(values.values())).double()
    dist.all_reduce(summed)
    return dict(zip(values, summed.tolist(), strict=True))


def full_state(engine: Any) -> dict[str, Tensor]:
    """The model's whole state dict, on the CPU of rank 0 and empty on the others, gathered under ZeRO-3; every rank must call it.

    Names that share a tensor share it still.
    """
    import deepspeed

    copies: dict[int, Tensor] = {}
    with deepspeed.zero.GatheredParameters(list(engine.module.parameters()), enabled=engine.zero_optimization_stage() == 3):
        state = engine.module.state_dict() if dist.get_rank() == 0 else {}
        for tensor in state.values():
            if tensor.data_ptr() not in copies:
                copies[tensor.data_ptr()] = tensor.detach().to("cpu", copy=True)
        return {name: copies[tensor.data_ptr()] for name, tensor in state.items()}
