"""The run of a parameter's numbers that a rank holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

WEIGHT = "weight"  # the kind of a parameter's or buffer's own numbers; others are what an optimizer calls them


@dataclass(frozen=True)
class Share:
    """Numbers `start` … of a flattened parameter, or buffer, of the name and shape given.

    tensors    by kind, each [n]: views of the rank's memory, so that what is copied into them is restored
    on_others  every rank holds the whole
    """

    name: str
    shape: tuple[int, ...]
    start: int
    tensors: Mapping[str, Tensor]
    on_others: bool = False

    def piece(self, rank: int, world: int) -> Share:
        """What this rank saves of it: its part of numbers that are on all ranks, or all that it alone holds."""
        if not self.on_others:
            return self
        count = self.tensors[WEIGHT].numel()
        first, end = (count * number // world for number in (rank, rank + 1))
        tensors = {kind: tensor[first:end] for kind, tensor in self.tensors.items()}
        return Share(self.name, self.shape, self.start + first, tensors)
