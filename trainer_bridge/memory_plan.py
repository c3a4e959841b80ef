"""The memory that a rank needs, part by part, and the refusal when there is less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from infra.compat.errors import RequestError
from trainer_bridge.deepspeed_engine import BUCKET
from trainer_bridge.memory.activations import activation_bytes
from trainer_bridge.schedule import Phase
from trainer_bridge.stages.outline import Outline
from trainer_bridge.stages.settings import Experiment, RunSettings

FLOAT = 4  # bytes
GATHERED = 1_050_000_000  # parameters that ZeRO-3 holds whole at most: DeepSpeed's max_live_parameters and prefetch_bucket_size


@dataclass(frozen=True)
class Part:
    """A part of a rank's memory: `size` bytes, and what makes it smaller."""

    name: str
    size: int
    remedy: str
    on_host: bool = False


def memory_plan(outline: Outline, experiment: Experiment, ranks: int) -> list[Part]:
    """The parts of a rank's memory at the peak of a step."""
    run, phases = experiment.run, experiment.phases()
    share = max(1, max(phase.batch for phase in phases) // ranks)
    held, trained = _counts(outline.model)
    costliest = max((_on_rank(phase, outline.side, ranks) for phase in phases), key=_tokens)
    pixels = 3 * costliest.image_size**2 * outline.tiles
    loaded = max(experiment.data.ahead_mib * 2**20, share * pixels) + share * pixels
    activations = activation_bytes(
        outline.model,
        lambda model: outline.loss(model, costliest),
        run.activation_checkpointing,
        in_bf16=run.precision == "bf16",
    )
    return [
        Part("parameters", _parameters(held, run, ranks), _more_zero(run, 3, ranks)),
        Part("gradients", _gradients(trained, run, ranks), _more_zero(run, 2, ranks)),
        Part("optimizer", _optimizer(trained, experiment, ranks), _more_zero(run, 1, ranks)),
        Part("activations", activations, _recompute(experiment)),
        Part("features", outline.features(share, ranks), "train on more ranks or lower data.batch"),
        Part("loader", loaded, "lower data.ahead_mib", on_host=True),
    ]


def _on_rank(phase: Phase, side: int, ranks: int) -> Phase:
    """The phase with the size of its pictures, and no more samples in a micro-batch than a rank has."""
    share = max(1, phase.batch // ranks)
    return phase._replace(micro_batch=min(phase.micro_batch, share), image_size=phase.image_size or side)


def _tokens(phase: Phase) -> float:
    """What a micro-batch's image tokens are in proportion to."""
    return phase.micro_batch * phase.image_size**2 * (1 - phase.drop_tokens)


def _counts(model: nn.Module) -> tuple[int, int]:
    """(all parameters, those that are trained)."""
    parameters = list(model.parameters())
    return sum(each.numel() for each in parameters), sum(each.numel() for each in parameters if each.requires_grad)


def _parameters(held: int, run: RunSettings, ranks: int) -> int:
    return FLOAT * held if run.zero < 3 else FLOAT * (-(-held // ranks) + min(held, GATHERED))


def _gradients(trained: int, run: RunSettings, ranks: int) -> int:
    """Gradients; from ZeRO-1 on the bucket in which they are summed over ranks, and the rank's share of the sums for AdamW."""
    share, bucket = -(-trained // ranks), min(BUCKET, trained)
    return FLOAT * {0: trained, 1: trained + bucket + share, 2: 2 * share + bucket, 3: share + bucket}[run.zero]


def _optimizer(trained: int, experiment: Experiment, ranks: int) -> int:
    """AdamW's two moments, the moving average, and under ZeRO-1 and 2 a second copy of the rank's share of the parameters."""
    zero = experiment.run.zero
    share = trained if zero == 0 else -(-trained // ranks)
    return FLOAT * share * (2 + (experiment.optimizer.ema > 0) + (zero in (1, 2)))


def _more_zero(run: RunSettings, stage: int, ranks: int) -> str:
    return f"set run.zero = {stage}" if run.zero < stage and ranks > 1 else "train on more ranks"


def _recompute(experiment: Experiment) -> str:
    smaller = "packing.tokens and packing.tiles" if getattr(experiment, "packing", None) else "run.micro_batch"
    blocks = 'set run.activation_checkpointing = "blocks"'
    return f"lower {smaller}" if experiment.run.activation_checkpointing == "blocks" else f"{blocks} or lower {smaller}"


def describe(parts: Sequence[Part], ranks: int) -> str:
    """The plan as a table, one line a part."""
    rows = [(part.name, part.size, " (host)" if part.on_host else "") for part in parts]
    rows.append(("together", sum(part.size for part in parts), ""))
    return "".join(f"memory     {name:<12}{size / 2**30:>10.2f} GiB a rank of {ranks}{where}\n" for name, size, where in rows)


def require_fit(parts: Sequence[Part], available: int, on_gpu: bool) -> None:
    """RequestError, in one line, that names the largest part when a rank's device has less memory than the plan needs."""
    counted = [part for part in parts if not (on_gpu and part.on_host)]
    needed = sum(part.size for part in counted)
    if needed > available:
        largest = max(counted, key=lambda part: part.size)
        raise RequestError(
            f"a rank needs {needed / 2**30:.1f} GiB and has {available / 2**30:.1f} GiB; the largest part are the {largest.name} "
            f"with {largest.size / 2**30:.1f} GiB: {largest.remedy}"
        )
