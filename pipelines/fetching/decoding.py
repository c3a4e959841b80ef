"""Decodes downloaded images in the process that downloads, without delaying the requests.

Bodies are collected while the sockets have something to give; once a turn of the event loop brings no new one, all of them are
decoded in a row, on the thread of the loop. Images that could take longer than some milliseconds go to a thread instead, so that
no host waits for them; each of these first takes the memory it needs out of `decode_memory`, in the order in which they came.
Where cores are idle, threads take images of the row too: at its end a job has the machine to itself.

Simpler ways were measured. Decoding each image as it comes makes requests and decoding evict each other's data from the
processor's caches, which costs a sixth of the time; handing each to a thread pool and taking it back costs a tenth.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from infra.compat.memory import keep_freed_memory, return_freed_memory
from pipelines.fetching.settings import FetchSettings
from pipelines.images.decode import LARGE
from pipelines.images.identify import IdentifiedImage, identify
from pipelines.images.prepare import StoredImage, memory_needed, prepare, prepare_all

THREADS = 2
LOADAVG = Path("/proc/loadavg")  # fourth field: runnable threads / all threads (proc_loadavg(5))
MAX_ROW = 32  # images, a tenth of a second: too short for the timeout of any request


class Memory:
    """A number of bytes, of which each image reserves what it needs while it is decoded; first come, first served."""

    def __init__(self, size: int) -> None:
        self.free = size
        self.queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def reserved(self, size: int) -> AsyncIterator[None]:
        """Waits until `size` bytes, no more than there are in all, are free, and holds them."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.queue.append((size, turn))
        self._serve()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self.free += size
            self._serve()

    def _serve(self) -> None:
        while self.queue and (self.queue[0][1].cancelled() or self.queue[0][0] <= self.free):
            size, turn = self.queue.popleft()
            if not turn.cancelled():
                self.free -= size
                turn.set_result(None)


class Decoder:
    """Decodes images for the coroutines of one event loop; a context manager."""

    def __init__(self, settings: FetchSettings) -> None:
        keep_freed_memory()
        self.settings = settings
        self.pool = ThreadPoolExecutor(THREADS, "decode")
        self.memory = Memory(settings.decode_memory)
        self.waiting: list[tuple[bytes, str | None, asyncio.Future[StoredImage | IdentifiedImage]]] = []

    def __enter__(self) -> Decoder:
        gc.freeze()  # what exists by now, mostly imported modules, need not be searched for garbage again and again
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.pool.shutdown()
        gc.unfreeze()

    async def decode(self, body: bytes, expected_hash: str | None) -> StoredImage:
        """The image in `body`, checked against the md5 or sha256 of its publisher; raises RejectedImage with the error class."""
        loop = asyncio.get_running_loop()
        if not self.waiting:
            loop.call_soon(self._decode_row, 0)
        future: asyncio.Future[StoredImage | IdentifiedImage] = loop.create_future()
        self.waiting.append((body, expected_hash, future))
        image = await future
        if isinstance(image, StoredImage):
            return image
        async with self.memory.reserved(min(memory_needed(image), self.settings.decode_memory)):
            return await loop.run_in_executor(self.pool, self._prepare_slow, image)

    def _decode_row(self, already_waiting: int) -> None:
        if already_waiting < len(self.waiting) < MAX_ROW:
            asyncio.get_running_loop().call_soon(self._decode_row, len(self.waiting))
            return
        waiting, self.waiting = self.waiting, []
        quick: list[tuple[IdentifiedImage, asyncio.Future[StoredImage | IdentifiedImage]]] = []
        for body, expected_hash, future in waiting:
            if future.cancelled():
                continue
            try:
                image = identify(body, self.settings, expected_hash)
            except Exception as error:
                future.set_exception(error)
                continue
            if image.decodes_quickly:
                quick.append((image, future))
            else:
                future.set_result(image)
        results: Sequence[StoredImage | Exception]
        try:
            results = prepare_all([image for image, _ in quick], self.settings, self._map)
        except Exception as error:  # memory, of the row as a whole
            results = [error] * len(quick)
        for (_, future), result in zip(quick, results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _prepare_slow(self, image: IdentifiedImage) -> StoredImage:
        try:
            return prepare(image, self.settings)
        finally:
            if memory_needed(image) > LARGE and image.opened is not None:
                image.opened.close()  # the pixels, which would go only when the loop lets go of the image
                return_freed_memory()

    def _map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """`function` of each item, in their order; this thread and those of idle cores each take the next item when free."""
        results: list[Any] = [None] * len(items)
        remaining = deque(range(len(items)))

        def work() -> None:
            while True:
                try:
                    at = remaining.popleft()
                except IndexError:
                    return
                results[at] = function(items[at])

        threads = [self.pool.submit(work) for _ in range(min(THREADS, len(items) - 1, idle_cores()))]
        work()
        for thread in threads:
            if not thread.cancel():  # one that could not start, because slow images hold the pool, is not waited for
                thread.result()
        return results


def idle_cores() -> int:
    """How many cores of this machine have nothing to run at this moment; 0 where the system does not tell."""
    try:
        return max(0, len(os.sched_getaffinity(0)) - int(LOADAVG.read_text().split()[3].split("/")[0]))
    except (AttributeError, OSError, ValueError, IndexError):  # another system than Linux
        return 0
