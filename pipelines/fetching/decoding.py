"""Decodes pictures beside the asking, in the least time: quick ones in a row in the event loop, others in threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from pipelines.fetching.images import Picture, Stored, identify, keep_memory, prepare
from pipelines.recipe import FetchSettings


class Decoder:
    """To be used in one event loop.

    What has come when the loop has looked at its sockets is decoded in a row: between two pictures the processor would forget
    what requests need, and between two requests what pictures need, which is a tenth of the time; to hand a picture to a thread
    and take it back is another. A picture that takes longer goes to a thread nevertheless, as it may keep no host waiting.
    """

    def __init__(self, settings: FetchSettings) -> None:
        keep_memory()
        self.settings = settings
        self.pool = ThreadPoolExecutor(2, "decode")
        self.waiting: list[tuple[bytes, str | None, asyncio.Future[Stored | Picture]]] = []

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.pool.shutdown()

    async def stored(self, body: bytes, expected: str | None) -> Stored:
        """The picture that `body` holds, with the md5 or sha256 its publisher `expected`; raises Unfit with the error class."""
        loop = asyncio.get_running_loop()
        if not self.waiting:
            loop.call_soon(self._work_off)
        found: asyncio.Future[Stored | Picture] = loop.create_future()
        self.waiting.append((body, expected, found))
        picture = await found
        return picture if isinstance(picture, Stored) else await loop.run_in_executor(self.pool, prepare, picture, self.settings)

    def _work_off(self) -> None:
        waiting, self.waiting = self.waiting, []
        for body, expected, found in waiting:
            if found.cancelled():
                continue
            try:
                picture = identify(body, self.settings, expected)
                found.set_result(prepare(picture, self.settings) if picture.quick else picture)
            except Exception as error:
                found.set_exception(error)
