"""Fetches a chunk of URLs and commits it as one tar and one table: the most that a kill can cost."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from pipelines.fetching import event_loop
from pipelines.fetching.client import Client, Response, session
from pipelines.fetching.decoding import Decoder
from pipelines.fetching.errors import HOST_DOWN, INTERNAL_ERROR, INTERRUPTED, OUT_OF_MEMORY, OUT_OF_TIME, RETRYABLE, status_of
from pipelines.fetching.frontier import Frontier
from pipelines.fetching.isolated import IsolatedDecoder
from pipelines.fetching.plan import Requests
from pipelines.fetching.settings import FetchSettings
from pipelines.fetching.urls import host_of
from pipelines.images.identify import RejectedImage
from pipelines.images.prepare import StoredImage
from pipelines.manifest.pictures import checksum_of, checksum_of_sha256
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import FAMILIES
from sharding.tar import TarWriter

# When so large a share of so many URLs fails like this, the machine is offline; dead links alone never come to it.
OFFLINE_ERRORS, OFFLINE_URLS, OFFLINE_SHARE = ("dns", "connect"), 50, 0.98
BUFFER = 1 << 18  # bytes: the system takes one large write in half the time of the images one by one
AnyDecoder = Decoder | IsolatedDecoder
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
    pdq: str | None = None
    pdq_quality: int | None = None
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
        self.file = tempfile.TemporaryFile(buffering=BUFFER)  # noqa: SIM115 - lives as long as the chunk
        self.places: dict[int, tuple[int, int, str]] = {}
        self.end = 0

    def add(self, index: int, data: bytes, extension: str) -> None:
        """Writes the image of URL `index`."""
        self.places[index] = (self.end, len(data), extension)
        self.file.write(data)
        self.end += self.places[index][1]

    def read(self, index: int) -> tuple[str, bytes]:
        """Extension and bytes of the image of URL `index`."""
        offset, length, extension = self.places[index]
        self.file.flush()
        return extension, os.pread(self.file.fileno(), length, offset)


def fetch_chunk(
    storage: Storage,
    requests: Requests,
    tar: str,
    settings: FetchSettings,
    seconds: float,
    finished: Callable[[int], None],
    new_decoder: Callable[[FetchSettings], AnyDecoder] = Decoder,
) -> pa.Table:
    """Requests every URL and stores the images in `tar`, in the order of the URLs; after `seconds` the rest is out_of_time.

    Returns the fetch family's columns but sample_id, a row per URL. `finished(index)` is called as each URL ends. Raises
    NoNetwork when hardly any host was reached: the errors would describe this machine, not the URLs.
    """
    spool = Spool()
    results = event_loop.run(_fetch_all(requests, settings, seconds, spool, finished, new_decoder))
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
    requests: Requests,
    settings: FetchSettings,
    seconds: float,
    spool: Spool,
    finished: Callable[[int], None],
    new_decoder: Callable[[FetchSettings], AnyDecoder],
) -> list[Result]:
    """A result per URL; raises OSError when the spool cannot be written.

    An exception of `_fetch` ends its URL alone. One of the frontier or of `finished` is a fault of ours that may hold for every
    URL: it ends the chunk at once, and the URLs that have no result by then are `interrupted`.
    """
    results: list[Result | None] = [None] * len(requests.urls)
    frontier = Frontier([host_of(url) for url in requests.urls], settings)
    with new_decoder(settings) as decoder:

        async def worker(client: Client) -> None:
            while (index := await frontier.next_url()) is not None:
                if frontier.is_down(index):
                    results[index] = results[index] or Result("failed", HOST_DOWN)
                    frontier.finish(index, HOST_DOWN, retryable=False, retry_after=None)
                    finished(index)
                    continue
                url, expected_hash = requests.urls[index], requests.hashes[index]
                response, image = await _fetch(client, url, expected_hash, partial(frontier.set_delay, index), decoder)
                results[index] = _store(response, image, index, spool)
                retryable = response.error in RETRYABLE
                if frontier.finish(index, response.error, retryable=retryable, retry_after=response.retry_after):
                    finished(index)

        async with session(settings) as http:
            client = Client(http, settings)
            workers = [asyncio.create_task(worker(client)) for _ in range(min(settings.concurrency, len(requests.urls)))]
            _, late = await asyncio.wait(workers, timeout=max(0.0, seconds), return_when=asyncio.FIRST_EXCEPTION)
            for task in late:
                task.cancel()
            outcomes = await asyncio.gather(*workers, return_exceptions=True)
    faults = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    if faults:
        if isinstance(faults[0], OSError):
            raise faults[0]
        sys.stderr.write(f"fetch: a fault ended a chunk, the rest of which is {INTERRUPTED}: {_first_line(faults[0])}\n")
    return [result or Result("failed", INTERRUPTED if faults else OUT_OF_TIME) for result in results]


async def _fetch(
    client: Client, url: str, expected_hash: str | None, set_delay: Callable[[float], None], decoder: AnyDecoder
) -> tuple[Response, StoredImage | str]:
    """The end of a request, and the image or the error class of its body; whatever a URL raises has a class."""
    response: Response | None = None
    try:
        response = await client.get(url, set_delay)
        return response, response.error or await decoder.decode(response.body, expected_hash)
    except Exception as error:
        if isinstance(error, RejectedImage):
            fault = error.error
        else:  # neither client nor decoder should raise it
            fault = OUT_OF_MEMORY if isinstance(error, MemoryError) else INTERNAL_ERROR
            sys.stderr.write(f"fetch: {url!r:.500} is {fault}: {_first_line(error)}\n")
        return response or Response(fault), fault


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:500]


def _store(response: Response, image: StoredImage | str, index: int, spool: Spool) -> Result:
    if response.error is not None:
        return Result(status_of(response.error), response.error, response.http_status)
    if isinstance(image, str):
        return Result("failed", image, response.http_status, bytes=len(response.body))
    spool.add(index, image.data, image.extension)
    return Result(
        status="ok",
        error=None,
        http_status=response.http_status,
        bytes=len(response.body),
        mime=image.mime,
        sha256=image.sha256,
        phash=image.phash,
        pdq=image.pdq,
        pdq_quality=image.pdq_quality,
        width=image.width,
        height=image.height,
        # The sha256 of original bytes is known; to compute it takes a tenth of the time of such an image.
        stored_checksum=checksum_of_sha256(image.sha256) if image.data is response.body else checksum_of(image.data),
    )


def write_tar(storage: Storage, spool: Spool, keys: Sequence[str], tar: str, results: Sequence[Result]) -> None:
    """Writes the stored images in the order of the URLs, and into the results where each lies; no tar where there is no image."""
    stored = [index for index, result in enumerate(results) if result.status == "ok"]
    if not stored:
        return
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "images.tar"
        with local.open("wb", BUFFER) as handle:
            writer = TarWriter(handle)
            for index in stored:
                extension, data = spool.read(index)
                ((offset, length),) = writer.add(keys[index], {extension: data}).values()
                results[index].tar, results[index].offset, results[index].length = tar, offset, length
            writer.close()
        storage.adopt(local, tar)
