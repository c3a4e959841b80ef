"""Out of memory, a batch is halved and goes on; nothing is lost, and one item that is too much is said."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from filters.scores.batches import Batches


@given(st.integers(1, 60), st.integers(1, 64), st.integers(1, 64))
def test_every_item_comes_once_in_order_whatever_fits(count: int, size: int, fits: int) -> None:
    calls = []

    def model(items: Sequence[np.ndarray]) -> np.ndarray:
        calls.append(len(items))
        if len(items) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return np.stack(items) * 2

    batches = Batches(size)
    items = [np.full(3, number) for number in range(count)]
    assert (batches.run(model, items) == np.stack(items) * 2).all()
    assert batches.size <= max(fits, 1) or count <= fits
    assert (batches.run(model, items) == np.stack(items) * 2).all() and max(calls) <= size
    assert sum(length > fits for length in calls) <= 7  # halved for good


def test_one_item_too_much_is_raised() -> None:
    def model(items: Sequence[np.ndarray]) -> np.ndarray:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Batches(8).run(model, [np.zeros(1)] * 8)
