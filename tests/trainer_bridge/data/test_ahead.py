"""Reading ahead keeps order and bounds; memory is used again when nobody holds it, and not before."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer_bridge.data.ahead import PixelMemory, ReadAhead


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 6))
def test_all_is_read_once_and_never_more_than_the_depth_before_it_is_taken(
    threads: ThreadPoolExecutor, chunks: list[int], depth: int
) -> None:
    started, taken, lock = [], [], threading.Lock()

    def read(positions: np.ndarray) -> int:
        with lock:
            started.append(1)
            assert len(started) - len(taken) <= depth
        if (number := int(positions[0])) == 5:
            raise OSError("five")
        return number

    reads = ReadAhead(read, threads, depth)
    for number, future in [(number, reads.add(np.array([number]))) for number in chunks]:
        future.exception()  # read, and not taken yet
        with lock:
            taken.append(1)
        try:
            assert reads.take(future) == number != 5
        except OSError as error:
            assert number == 5 and str(error) == "five"
    assert len(started) == len(chunks)


def test_memory_is_used_again_when_no_tensor_or_array_shares_it() -> None:
    memory = PixelMemory(2, np.zeros((3, 4, 4), np.uint8))
    first = memory.take()
    assert first.shape == (2, 3, 4, 4) and first.is_contiguous(memory_format=torch.channels_last)
    place, held = first.data_ptr(), first[1:].permute(0, 2, 3, 1).numpy()
    del first
    second = memory.take()
    assert second.data_ptr() != place
    second.fill_(1)
    held[:] = 7
    assert (second == 1).all()
    del held
    third = memory.take()
    assert third.data_ptr() == place
