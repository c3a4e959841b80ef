"""Which part of the work is a rank's, and how results of all ranks are gathered.

Under ZeRO-3 a forward pass gathers weights from all ranks, so each must run as many. A share is therefore as long on every rank:
where the work does not divide, the last ranks do some of it again, and those results are dropped.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainer_bridge.models.losses import gather, rank, world_size


class Share(NamedTuple):
    """What a rank does of `total` pieces of work.

    numbers  int64[n], n = ceil(total / world); in the order of the ranks they are 0 … total - 1, and then some again
    counted  bool[n], false for work that another rank does too
    total    the work of all ranks
    """

    numbers: np.ndarray
    counted: np.ndarray
    total: int

    def batches(self, size: int) -> list[np.ndarray]:
        """The numbers, `size` at a time."""
        return [self.numbers[start : start + size] for start in range(0, len(self.numbers), size)]

    def gathered(self, rows: Tensor) -> Tensor:
        """The rows [n, …] that each rank has for its numbers → [total, …] in order, on every rank."""
        return gather(rows)[: self.total]


def share_of(total: int) -> Share:
    """The rank's share of `total` pieces of work."""
    size = -(-total // world_size())
    places = np.arange(rank() * size, (rank() + 1) * size)
    return Share(places % max(1, total), places < total, total)


def gather_rows(rows: list[Any], device: torch.device) -> list[Any]:
    """The rows of all ranks, in their order, on every rank; a row is what JSON can hold."""
    if world_size() == 1:
        return rows
    data = np.frombuffer(json.dumps(rows).encode(), np.uint8)
    sizes = gather(torch.tensor([len(data)], device=device)).tolist()
    sent = torch.zeros(max(sizes), dtype=torch.uint8)
    sent[: len(data)] = torch.from_numpy(data.copy())
    pieces = gather(sent[None].to(device)).cpu().numpy()
    return [row for piece, size in zip(pieces, sizes, strict=True) for row in json.loads(piece[:size].tobytes())]
