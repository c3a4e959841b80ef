"""Decodes pictures beside the asking, in the least time: quick ones in a row in the event loop, others in threads.

Where a core has nothing to do, threads take their share of the row too: the last part of a job has the machine to itself.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from pipelines.fetching.settings import FetchSettings
from pipelines.images.decode import keep_memory
from pipelines.images.identify import Picture, identify
from pipelines.images.prepare import Stored, prepare, prepare_all

THREADS = 2
RUNNING = Path("/proc/loadavg")  # its fourth word: threads that run or could, of all that are (proc_loadavg(5))
MOST_IN_A_ROW = 32  # pictures, a tenth of a second: no host's time limits run out meanwhile


class Decoder:
    """To be used in one event loop.

    What has come is decoded in a row, once a look at the sockets brings nothing more: between two pictures the processor would
    forget what requests need, and between two requests what pictures need, which is a sixth of the time; to hand a picture to a
    thread and take it back is a tenth. A picture that takes longer goes to a thread nevertheless, as it may keep no host waiting.
    """

    def __init__(self, settings: FetchSettings) -> None:
        keep_memory()
        self.settings = settings
        self.pool = ThreadPoolExecutor(THREADS, "decode")
        self.waiting: list[tuple[bytes, str | None, asyncio.Future[Stored | Picture]]] = []

    def __enter__(self) -> Decoder:
        gc.freeze()  # what is there by now, mostly imported, is not looked through for garbage again and again
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.pool.shutdown()
        gc.unfreeze()

    async def stored(self, body: bytes, expected: str | None) -> Stored:
        """The picture that `body` holds, with the md5 or sha256 its publisher `expected`; raises Unfit with the error class."""
        loop = asyncio.get_running_loop()
        if not self.waiting:
            loop.call_soon(self._work_off, 0)
        found: asyncio.Future[Stored | Picture] = loop.create_future()
        self.waiting.append((body, expected, found))
        picture = await found
        return picture if isinstance(picture, Stored) else await loop.run_in_executor(self.pool, prepare, picture, self.settings)

    def _work_off(self, seen: int) -> None:
        if seen < len(self.waiting) < MOST_IN_A_ROW:
            asyncio.get_running_loop().call_soon(self._work_off, len(self.waiting))
            return
        waiting, self.waiting = self.waiting, []
        quick: list[tuple[Picture, asyncio.Future[Stored | Picture]]] = []
        for body, expected, found in waiting:
            if found.cancelled():
                continue
            try:
                picture = identify(body, self.settings, expected)
            except Exception as error:
                found.set_exception(error)
                continue
            if picture.quick:
                quick.append((picture, found))
            else:
                found.set_result(picture)
        made = prepare_all([picture for picture, _ in quick], self.settings, self._each)
        for (_, found), stored in zip(quick, made, strict=True):
            if isinstance(stored, Exception):
                found.set_exception(stored)
            else:
                found.set_result(stored)

    def _each(self, work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """`work` of each item, in their order; this thread and those of idle cores each take the next as they are free."""
        made: list[Any] = [None] * len(items)
        left = deque(range(len(items)))

        def take() -> None:
            while True:
                try:
                    at = left.popleft()
                except IndexError:
                    return
                made[at] = work(items[at])

        helpers = [self.pool.submit(take) for _ in range(min(THREADS, len(items) - 1, idle_cores()))]
        take()
        for helper in helpers:
            if not helper.cancel():  # one that slow pictures kept from starting is not waited for
                helper.result()
        return made


def idle_cores() -> int:
    """How many cores of this machine have nothing to run at this moment; 0 where the system does not say."""
    try:
        return max(0, len(os.sched_getaffinity(0)) - int(RUNNING.read_text().split()[3].split("/")[0]))
    except (AttributeError, OSError, ValueError, IndexError):  # another system than Linux
        return 0
