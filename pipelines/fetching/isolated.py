"""Decodes in a child process, for a chunk that ended its worker before: a decoder crashed, or took all memory.

An image that ends the child is `decoder_crash`, and the next one gets a new child. So one URL cannot end the worker again at
every retry. All other chunks decode in the worker itself, which is faster (see `decoding`).
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from types import TracebackType

from infra.compat.children import end_with_parent
from pipelines.fetching.errors import DECODER_CRASH
from pipelines.fetching.settings import FetchSettings
from pipelines.images.identify import RejectedImage, identify
from pipelines.images.prepare import StoredImage, prepare
from pipelines.manifest.storage import Storage

Decode = Callable[[bytes, str | None, FetchSettings], StoredImage]


def decode(body: bytes, expected_hash: str | None, settings: FetchSettings) -> StoredImage:
    """The image in `body`; raises RejectedImage with the error class."""
    return prepare(identify(body, settings, expected_hash), settings)


class IsolatedDecoder:
    """As `decoding.Decoder`, one image at a time, in a child process."""

    def __init__(self, settings: FetchSettings, function: Decode = decode) -> None:
        self.settings, self.function, self.one_at_a_time = settings, function, asyncio.Lock()
        self.pool = _child()

    def __enter__(self) -> IsolatedDecoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.pool.shutdown()

    async def decode(self, body: bytes, expected_hash: str | None) -> StoredImage:
        """The image in `body`; raises RejectedImage with the error class."""
        async with self.one_at_a_time:  # so that the image that ends the child is known
            try:
                work = partial(self.function, body, expected_hash, self.settings)
                return await asyncio.get_running_loop().run_in_executor(self.pool, work)
            except BrokenProcessPool:
                self.pool = _child()
                raise RejectedImage(DECODER_CRASH) from None


@contextmanager
def marked(storage: Storage, path: str) -> Iterator[bool]:
    """Keeps a file at `path` while the work inside goes on; yields whether one was left by a process that died at that work."""
    died_before = storage.exists(path)
    storage.write(path, b"")
    try:
        yield died_before
    finally:
        storage.remove([path])


def _child() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=end_with_parent)
