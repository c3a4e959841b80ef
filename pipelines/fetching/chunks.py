"""Fetches a run of URLs and commits them as one tar and one table: the unit that a kill can cost."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from pipelines.fetching.client import HEALING, Answer, Client, session, status_of
from pipelines.fetching.decoding import Decoder
from pipelines.fetching.frontier import HOST_DOWN, Frontier
from pipelines.fetching.request import Wanted
from pipelines.fetching.settings import FetchSettings
from pipelines.images.identify import Unfit
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import FAMILIES
from sharding.tar import TarWriter

# So many URLs, and hardly one that reached a host: that is no web with dead links but a machine without one.
UNREACHED, ENOUGH, ALMOST_ALL = ("dns", "connect"), 50, 0.98
OUT_OF_TIME = "out_of_time"
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


class NoNetwork(Exception):
    """Nothing could be reached; the chunk is not committed."""


class Spool:
    """Finished pictures in a temporary file in the order they came, so that memory holds none of them."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as the chunk
        self.places: dict[int, tuple[int, int, str]] = {}
        self.end = 0

    def add(self, index: int, data: bytes, ending: str) -> None:
        """Keeps the picture of URL `index`."""
        self.places[index] = (self.end, len(data), ending)
        while data:
            data = data[self.file.write(data) :]
        self.end += self.places[index][1]

    def read(self, index: int) -> tuple[str, bytes]:
        """Ending and bytes of the picture of URL `index`."""
        offset, length, ending = self.places[index]
        return ending, os.pread(self.file.fileno(), length, offset)


def fetch_chunk(
    storage: Storage, wanted: Wanted, tar: str, settings: FetchSettings, seconds: float, finished: Callable[[int], None]
) -> pa.Table:
    """Asks for every URL and stores the pictures in `tar`, in the order of the URLs; what takes over `seconds` is out_of_time.

    Returns the fetch family's columns but sample_id, a row per URL. `finished(index)` is called as each URL ends. Raises
    NoNetwork when hardly any URL reached a host: such answers would be a verdict on this machine.
    """
    spool = Spool()
    results = asyncio.run(_fetch_all(wanted, settings, seconds, spool, finished))
    unreached = sum(result.error in UNREACHED for result in results)
    if len(results) >= ENOUGH and unreached > ALMOST_ALL * len(results):
        raise NoNetwork(f"no host was reached for {unreached} of {len(results)} URLs; is this machine online?")
    write_tar(storage, spool, wanted.keys, tar, results)
    return table_of(results)


def table_of(results: Sequence[Result]) -> pa.Table:
    """The fetch family's columns but sample_id."""
    rows = [vars(result) for result in results]
    return pa.table({field.name: pa.array([row[field.name] for row in rows], field.type) for field in COLUMNS})


async def _fetch_all(
    wanted: Wanted, settings: FetchSettings, seconds: float, spool: Spool, finished: Callable[[int], None]
) -> list[Result]:
    results: list[Result | None] = [None] * len(wanted.urls)
    frontier = Frontier([host_of(url) for url in wanted.urls], settings)
    with Decoder(settings) as decoder:

        async def worker(client: Client) -> None:
            while (index := await frontier.take()) is not None:
                if frontier.is_down(index):
                    results[index] = results[index] or Result("failed", HOST_DOWN)
                    frontier.ended(index, HOST_DOWN, may_heal=False, pause=None)
                    finished(index)
                    continue
                answer = await client.ask(wanted.urls[index], partial(frontier.pace, index))
                results[index] = await _judge(answer, index, wanted.hashes[index], spool, decoder)
                if frontier.ended(index, answer.error, may_heal=answer.error in HEALING, pause=answer.retry_after):
                    finished(index)

        async with session(settings) as http:
            client = Client(http, settings)
            workers = [asyncio.create_task(worker(client)) for _ in range(min(settings.concurrency, len(wanted.urls)))]
            _, late = await asyncio.wait(workers, timeout=max(0.0, seconds))
            for task in late:
                task.cancel()
            for outcome in await asyncio.gather(*workers, return_exceptions=True):
                if isinstance(outcome, Exception):
                    raise outcome
    return [result or Result("failed", OUT_OF_TIME) for result in results]


def host_of(url: str) -> str:
    """The host of a URL in lower case; "" where it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


async def _judge(answer: Answer, index: int, expected: str | None, spool: Spool, decoder: Decoder) -> Result:
    if answer.error is not None:
        return Result(status_of(answer.error), answer.error, answer.http_status)
    try:
        stored = await decoder.stored(answer.body, expected)
    except Unfit as unfit:
        return Result("failed", unfit.error, answer.http_status, bytes=len(answer.body))
    spool.add(index, stored.data, stored.ending)
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


def write_tar(storage: Storage, spool: Spool, keys: Sequence[str], tar: str, results: Sequence[Result]) -> None:
    """Stores the sound pictures in the order of the URLs, and says in the results where each lies."""
    kept = [index for index, result in enumerate(results) if result.status == "ok"]
    if not kept:
        return
    with tempfile.NamedTemporaryFile(delete=False) as local:
        writer = TarWriter(local.file)  # asked through its wrapper, each write takes twice as long
        for index in kept:
            ending, data = spool.read(index)
            ((offset, length),) = writer.add(keys[index], {ending: data}).values()
            results[index].tar, results[index].offset, results[index].length = tar, offset, length
        writer.close()
    storage.adopt(Path(local.name), tar)
