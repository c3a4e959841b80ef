"""DeepSpeed, held at arm's length: start, initialise, resume, save. On CUDA with NCCL, on CPU with gloo."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from trainer_bridge.config import TrainConfig
from trainer_bridge.data.loader import Batch
from trainer_bridge.stages.schedule import cosine


def start() -> torch.device:
    """Joins the process group that the launcher describes (a single process joins itself); returns this rank's device."""
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29511",
    }.items():
        os.environ.setdefault(name, value)
    cuda = torch.cuda.is_available()
    if not cuda:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        # Two ranks on the cores of one machine: each takes its share, or they fight over them.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    import deepspeed

    if not cuda:
        # This optional op is compiled for half a minute at the first start and replaces gloo for nothing we need.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.utils.logging.logger.setLevel("WARNING")
    deepspeed.init_distributed(dist_backend="nccl" if cuda else "gloo", verbose=False)
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")


def initialise(model: nn.Module, groups: list[dict[str, Any]], config: TrainConfig, world: int) -> Any:
    """The DeepSpeed engine around the model, with AdamW over the parameter groups."""
    import deepspeed

    run, optimizer = config.run, config.optimizer
    micro = min(run.micro_batch, config.data.batch // world)
    settings = {
        "train_batch_size": config.data.batch,
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": config.data.batch // (world * micro),
        "gradient_clipping": optimizer.clip_norm,
        "zero_optimization": {"stage": run.zero},
        "bf16": {"enabled": run.precision == "bf16"},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1 << 30,
        "wall_clock_breakdown": False,
    }
    for group in groups:
        group["peak_lr"] = group["lr"]
    adamw = torch.optim.AdamW(groups, betas=optimizer.betas)
    engine, *_ = deepspeed.initialize(model=model, optimizer=adamw, config=settings)
    return engine


def set_rate(engine: Any, config: TrainConfig, progress: float) -> float:
    """Sets every group's learning rate for this much progress (0 … 1); returns the first group's."""
    steps = config.optimizer.steps
    factor = cosine(int(progress * steps), config.optimizer.warmup, steps)
    groups = engine.optimizer.param_groups
    for group in groups:
        group["lr"] = group["peak_lr"] * factor
    return float(groups[0]["lr"])


def micro_batches(batch: Batch, size: int) -> Iterator[Batch]:
    """The batch in pieces of at most `size` samples, in order."""
    for start in range(0, len(batch.captions), size):
        yield batch.piece(start, start + size)


def mean(values: Mapping[str, float]) -> dict[str, float]:
    """The mean of each number over ranks."""
    total = torch.tensor(list(values.values()), dtype=torch.float64)
    if dist.get_backend() == "nccl":
        total = total.cuda()
    dist.all_reduce(total)
    return dict(zip(values, (total / dist.get_world_size()).tolist(), strict=True))


def save(engine: Any, folder: Path, steps: int, seconds: float) -> None:
    """Saves the state after `steps` optimizer steps; the newest is marked last, so a kill leaves the one before."""
    engine.save_checkpoint(str(folder), tag=f"step{steps:08d}", client_state={"steps": steps, "seconds": seconds})


def resume(engine: Any, folder: Path) -> tuple[int, float]:
    """Loads the newest state, if there is one; returns the steps and seconds it had trained."""
    if not (folder / "latest").exists():
        return 0, 0.0
    _, client = engine.load_checkpoint(str(folder))
    return int(client["steps"]), float(client["seconds"])


def full_state(engine: Any) -> dict[str, Tensor]:
    """All parameters of the model, gathered under ZeRO-3; every rank must call it."""
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(engine.module.parameters()), enabled=engine.zero_optimization_stage() == 3):
        return {name: tensor.detach().clone() for name, tensor in engine.module.state_dict().items()}
