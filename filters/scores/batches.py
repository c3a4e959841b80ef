"""Batches of a size that the device has memory for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch


class Batches:
    """Runs a model on batches of at most `size` items; out of memory, `size` is halved for good and the batch is run again."""

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, model: Callable[..., np.ndarray], items: Sequence[np.ndarray]) -> np.ndarray:
        """model(items[first : last]) of all batches, one behind the other; OutOfMemoryError where one item is too much."""
        results, first = list[np.ndarray](), 0
        while first < len(items):
            try:
                results.append(model(items[first : first + self.size]))
            except torch.OutOfMemoryError:
                if self.size == 1:
                    raise
                self.size = self.size // 2
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
            else:
                first += self.size
        return np.concatenate(results)
