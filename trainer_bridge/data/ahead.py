"""What the loader does ahead of the trainer in little memory: reading, and memory for pixels that is used again.

What was read or written a moment ago is in the processor's cache, and memory that the process has had before costs nothing: the
system clears every page that it gives, which takes as long as copying a crop of 224 px twenty times.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

Result = TypeVar("Result")


class ReadAhead(Generic[Result]):
    """Reads chunks of positions in their order, at most `depth` of them before they are taken."""

    def __init__(self, read: Callable[[np.ndarray], Result], threads: ThreadPoolExecutor, depth: int) -> None:
        self._read, self._threads, self._free = read, threads, depth
        self._waiting, self._lock = deque[tuple[np.ndarray, Future[Result]]](), Lock()

    def add(self, positions: np.ndarray) -> Future[Result]:
        """What is read at positions int64[N], after all that was added before."""
        future: Future[Result] = Future()
        with self._lock:
            self._waiting.append((positions, future))
            self._start()
        return future

    def take(self, future: Future[Result]) -> Result:
        """Waits for what was added, and makes room for another. To be called in the order of `add`, or nearly."""
        try:
            return future.result()
        finally:
            with self._lock:
                self._free += 1
                self._start()

    def _start(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            positions, future = self._waiting.popleft()
            try:
                self._threads.submit(self._run, positions, future)
            except RuntimeError as error:  # the interpreter ends, with the iteration neither finished nor closed
                future.set_exception(error)

    def _run(self, positions: np.ndarray, future: Future[Result]) -> None:
        try:
            future.set_result(self._read(positions))
        except BaseException as error:
            future.set_exception(error)


class PixelMemory:
    """Memory for the pixels of batches, [B, 3, S, S]; that of a batch which nobody holds any more is used again."""

    def __init__(self, count: int, black: np.ndarray) -> None:
        channels, height, width = black.shape
        self._shape, self._dtype = (count, height, width, channels), black.dtype
        self._is_pinned = torch.cuda.is_available() and torch.utils.data.get_worker_info() is None
        self._free = deque[np.ndarray]()

    def take(self) -> Tensor:
        """Pixels of a batch, not initialised, channels last; pinned where there is a GPU."""
        if self._is_pinned:  # torch keeps such memory itself
            dtype = torch.from_numpy(np.empty(0, self._dtype)).dtype
            return torch.empty(self._shape, dtype=dtype, pin_memory=True).permute(0, 3, 1, 2)
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty(self._shape, self._dtype)
        lent = memory.view()  # the tensor and all that share its memory hold this object
        weakref.finalize(lent, self._free.append, memory).atexit = False
        return torch.from_numpy(lent).permute(0, 3, 1, 2)
