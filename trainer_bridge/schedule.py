"""What changes over a training: the learning rate at every step, batch and pictures from phase to phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


def cosine(step: int, warmup: int, steps: int) -> float:
    """Linear from 0 to 1 over `warmup` steps, then half a cosine down to 0 at `steps`: a factor of the peak rate."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


def constant(step: int, warmup: int, steps: int) -> float:
    """Linear from 0 to 1 over `warmup` steps, then 1."""
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


SCHEDULES = {"cosine": cosine, "constant": constant}


class Phase(NamedTuple):
    """A range of optimizer steps with one batch, one size of pictures, and one masking.

    first, last  its steps are first … last - 1
    start        samples of the phases before it
    batch        global batch, in samples
    micro_batch  samples per forward pass on each rank
    rate         factor of the learning rates, besides the cosine
    image_size   side of the pictures; 0: the model's
    drop_tokens  share of image tokens left out
    """

    first: int
    last: int
    start: int
    batch: int
    micro_batch: int
    rate: float = 1.0
    image_size: int = 0
    drop_tokens: float = 0.0


def samples_before(phases: Sequence[Phase], step: int) -> int:
    """The samples of all steps before this one."""
    return sum(phase.batch * (min(step, phase.last) - phase.first) for phase in phases if phase.first < step)
