"""Fetches a run of URLs and commits them as one tar and one table: the unit that a kill can cost."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import pyarrow as pa

from pipelines.fetching.client import Answer, ask, session, status_of
from pipelines.fetching.images import Stored, Unfit, prepare
from pipelines.manifest.schema import FAMILIES
from pipelines.manifest.storage import Storage
from pipelines.recipe import FetchSettings
from sharding.writer import ShardWriter

COLUMNS = [field for field in FAMILIES["fetch"] if field.name != "sample_id"]


@dataclass
class Result:
    """One URL's columns of the fetch family."""

    status: str
    error: str | None
    http_status: int | None = None
    bytes: int | None = None
    mime: str | None = None
    sha256: str | None = None
    phash: int | None = None
    width: int | None = None
    height: int | None = None
    tar: str | None = None
    offset: int | None = None
    length: int | None = None


class Spool:
    """Finished pictures in a temporary file in the order they came, so that memory holds none of them."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the chunk
        self.places: dict[int, tuple[int, int, str]] = {}

    def add(self, index: int, stored: Stored) -> None:
        """Keeps the picture of URL `index`."""
        self.places[index] = (self.file.seek(0, 2), self.file.write(stored.data), stored.ending)

    def read(self, index: int) -> tuple[str, bytes]:
        """Ending and bytes of the picture of URL `index`."""
        offset, length, ending = self.places[index]
        self.file.seek(offset)
        return ending, self.file.read(length)


def fetch_chunk(
    storage: Storage,
    urls: Sequence[str],
    keys: Sequence[str],
    tar: str,
    settings: FetchSettings,
    finished: Callable[[int], None],
) -> pa.Table:
    """Asks for every URL and stores the pictures under `keys` in `tar`, in the order of `urls`.

    Returns the fetch family's columns but sample_id, a row per URL. `finished(index)` is called as each URL ends.
    """
    spool = Spool()
    results = asyncio.run(_fetch_all(urls, settings, spool, finished))
    _write_tar(storage, spool, keys, tar, results)
    rows = [asdict(result) for result in results]
    return pa.table({field.name: pa.array([row[field.name] for row in rows], field.type) for field in COLUMNS})


async def _fetch_all(urls: Sequence[str], settings: FetchSettings, spool: Spool, finished: Callable[[int], None]) -> list[Result]:
    results: list[Result | None] = [None] * len(urls)
    todo = iter(range(len(urls)))
    with ThreadPoolExecutor(2, "decode") as pool:

        async def worker(client: aiohttp.ClientSession) -> None:
            for index in todo:
                answer = await ask(client, urls[index], settings)
                results[index] = await _judge(answer, index, settings, spool, pool)
                finished(index)

        async with session(settings) as client:
            await asyncio.gather(*(worker(client) for _ in range(min(settings.concurrency, len(urls)))))
    return [result for result in results if result is not None]


async def _judge(answer: Answer, index: int, settings: FetchSettings, spool: Spool, pool: ThreadPoolExecutor) -> Result:
    if answer.error is not None:
        return Result(status_of(answer.error), answer.error, answer.http_status)
    try:
        stored = await asyncio.get_running_loop().run_in_executor(pool, prepare, answer.body, settings)
    except Unfit as unfit:
        return Result("failed", unfit.error, answer.http_status, bytes=len(answer.body))
    spool.add(index, stored)
    return Result(
        status="ok",
        error=None,
        http_status=answer.http_status,
        bytes=len(answer.body),
        mime=stored.mime,
        sha256=stored.sha256,
        phash=stored.phash,
        width=stored.width,
        height=stored.height,
    )


def _write_tar(storage: Storage, spool: Spool, keys: Sequence[str], tar: str, results: Sequence[Result]) -> None:
    kept = [index for index, result in enumerate(results) if result.status == "ok"]
    if not kept:
        return
    with tempfile.NamedTemporaryFile(delete=False) as local:
        writer = ShardWriter(local)
        for index in kept:
            ending, data = spool.read(index)
            ((offset, length),) = writer.add(keys[index], {ending: data}).values()
            results[index].tar, results[index].offset, results[index].length = tar, offset, length
        writer.close()
    storage.adopt(Path(local.name), tar)
