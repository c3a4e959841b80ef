"""The phases of a training: which batches come, at which image size and with what masking.

A phase is a range of steps. Its samples follow those of the phase before, in the one order of the run. So a run goes on at any
step, the first of a phase too, as if it had never stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

from torch import distributed as dist

from trainer_bridge.data.batch import Batch
from trainer_bridge.data.instructions.loader import ExampleLoader
from trainer_bridge.data.loader import Loader
from trainer_bridge.schedule import Phase
from trainer_bridge.stages import Stage


def require_divisible(phases: Sequence[Phase], world: int) -> None:
    """ValueError when the global batch of a phase does not divide among the ranks."""
    for phase in phases:
        if phase.batch % world:
            raise ValueError(f"the global batch of {phase.batch} does not divide among {world} ranks")


def batches(
    stage: Stage, phases: Sequence[Phase], loader_of: Callable[[Phase], Loader | ExampleLoader], done: int
) -> Iterator[tuple[Phase, int, Batch]]:
    """The rank's slice of each global batch from step `done` on, with its phase and the number of its step.

    Nothing is read ahead over the end of a phase, as the pictures of the next are of another size.
    """
    for phase in phases:
        first = max(done, phase.first)
        if first >= phase.last:
            continue
        stage.begin(phase)
        loader = loader_of(phase)
        _tell(loader.describe())
        try:
            for step, batch in enumerate(loader.batches(first - phase.first, phase.last - phase.first), start=first):
                yield phase, step, batch
        finally:  # a training may end before its phase does
            _tell(loader.fetched())


def _tell(line: str) -> None:
    if dist.get_rank() == 0:
        sys.stderr.write(f"loader     {line}\n")
