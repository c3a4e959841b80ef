"""Fetches a chunk of URLs and commits it as one tar and one table: the most that a kill can cost."""

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

from pipelines.fetching.client import Client, Response, session
from pipelines.fetching.decoding import Decoder
from pipelines.fetching.errors import HOST_DOWN, OUT_OF_TIME, RETRYABLE, status_of
from pipelines.fetching.frontier import Frontier
from pipelines.fetching.plan import Requests
from pipelines.fetching.settings import FetchSettings
from pipelines.images.identify import RejectedImage
from pipelines.manifest.pictures import checksum_of
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import FAMILIES
from sharding.tar import TarWriter

# When so large a share of so many URLs fails like this, the machine is offline; dead links alone never come to it.
OFFLINE_ERRORS, OFFLINE_URLS, OFFLINE_SHARE = ("dns", "connect"), 50, 0.98
COLUMNS = [field for field in FAMILIES["fetch"] if field.name != "sample_id"]


@dataclass
class Result:
    """The fetch family's columns of one URL."""

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
    stored_checksum: int | None = None
    tar_stamp: str | None = None


class NoNetwork(Exception):
    """Hardly any host could be reached; the chunk is not committed."""


class Spool:
    """Stored images in a temporary file, in the order they arrived, so that memory holds none of them."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as the chunk
        self.places: dict[int, tuple[int, int, str]] = {}
        self.end = 0

    def add(self, index: int, data: bytes, extension: str) -> None:
        """Writes the image of URL `index`."""
        self.places[index] = (self.end, len(data), extension)
        while data:
            data = data[self.file.write(data) :]
        self.end += self.places[index][1]

    def read(self, index: int) -> tuple[str, bytes]:
        """Extension and bytes of the image of URL `index`."""
        offset, length, extension = self.places[index]
        return extension, os.pread(self.file.fileno(), length, offset)


def fetch_chunk(
    storage: Storage, requests: Requests, tar: str, settings: FetchSettings, seconds: float, finished: Callable[[int], None]
) -> pa.Table:
    """Requests every URL and stores the images in `tar`, in the order of the URLs; after `seconds` the rest is out_of_time.

    Returns the fetch family's columns but sample_id, a row per URL. `finished(index)` is called as each URL ends. Raises
    NoNetwork when hardly any host was reached: the errors would describe this machine, not the URLs.
    """
    spool = Spool()
    results = asyncio.run(_fetch_all(requests, settings, seconds, spool, finished))
    unreached = sum(result.error in OFFLINE_ERRORS for result in results)
    if len(results) >= OFFLINE_URLS and unreached > OFFLINE_SHARE * len(results):
        raise NoNetwork(f"no host was reached for {unreached} of {len(results)} URLs; is this machine online?")
    write_tar(storage, spool, requests.keys, tar, results)
    return table_of(results)


def table_of(results: Sequence[Result]) -> pa.Table:
    """The fetch family's columns but sample_id."""
    rows = [vars(result) for result in results]
    return pa.table({field.name: pa.array([row[field.name] for row in rows], field.type) for field in COLUMNS})


async def _fetch_all(
    requests: Requests, settings: FetchSettings, seconds: float, spool: Spool, finished: Callable[[int], None]
) -> list[Result]:
    results: list[Result | None] = [None] * len(requests.urls)
    frontier = Frontier([host_of(url) for url in requests.urls], settings)
    with Decoder(settings) as decoder:

        async def worker(client: Client) -> None:
            while (index := await frontier.next_url()) is not None:
                if frontier.is_down(index):
                    results[index] = results[index] or Result("failed", HOST_DOWN)
                    frontier.finish(index, HOST_DOWN, retryable=False, retry_after=None)
                    finished(index)
                    continue
                response = await client.get(requests.urls[index], partial(frontier.set_delay, index))
                results[index] = await _store(response, index, requests.hashes[index], spool, decoder)
                retryable = response.error in RETRYABLE
                if frontier.finish(index, response.error, retryable=retryable, retry_after=response.retry_after):
                    finished(index)

        async with session(settings) as http:
            client = Client(http, settings)
            workers = [asyncio.create_task(worker(client)) for _ in range(min(settings.concurrency, len(requests.urls)))]
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


async def _store(response: Response, index: int, expected_hash: str | None, spool: Spool, decoder: Decoder) -> Result:
    if response.error is not None:
        return Result(status_of(response.error), response.error, response.http_status)
    try:
        image = await decoder.decode(response.body, expected_hash)
    except RejectedImage as rejected:
        return Result("failed", rejected.error, response.http_status, bytes=len(response.body))
    spool.add(index, image.data, image.extension)
    return Result(
        status="ok",
        error=None,
        http_status=response.http_status,
        bytes=len(response.body),
        mime=image.mime,
        sha256=image.sha256,
        phash=image.phash,
        width=image.width,
        height=image.height,
    )


def write_tar(storage: Storage, spool: Spool, keys: Sequence[str], tar: str, results: Sequence[Result]) -> None:
    """Writes the stored images in the order of the URLs, and into the results where each lies; no tar where there is no image."""
    stored = [index for index, result in enumerate(results) if result.status == "ok"]
    if not stored:
        return
    with tempfile.NamedTemporaryFile(delete=False) as local:
        writer = TarWriter(local.file)  # through the wrapper each write takes twice as long
        for index in stored:
            extension, data = spool.read(index)
            ((offset, length),) = writer.add(keys[index], {extension: data}).values()
            results[index].tar, results[index].offset, results[index].length = tar, offset, length
            results[index].stored_checksum = checksum_of(data)
        writer.close()
    storage.adopt(Path(local.name), tar)
