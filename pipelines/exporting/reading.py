"""Reads many pictures, in any order, within a bound of memory: a window of them while the one before is used.

The pictures of a window are sorted by their places; those that lie close together in a tar are read by one request, and requests
are sent side by side. One at a time would cost a request's latency each: 30 pictures a second from an object store.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import fsspec
import pyarrow as pa

from infra.compat.files import file_system
from pipelines.exporting.pictures import LostPicture
from pipelines.manifest.pictures import StoredPicture, checksum_of
from pipelines.manifest.storage import Storage

MAX_GAP = 64 << 10  # bytes between two pictures that are read and thrown away rather than cost a request more


class Request(NamedTuple):
    """Bytes `start` … `end` - 1 of a tar, which hold the pictures with these numbers."""

    tar: str
    start: int
    end: int
    numbers: list[int]


def read_pictures(storage: Storage, pictures: Sequence[StoredPicture], memory: int) -> Iterator[bytes | LostPicture]:
    """The bytes of each picture in the given order, or why there are none: missing, changed. At most `memory` bytes are held."""
    windows = _windows(pictures, window_bytes(memory))
    with ThreadPoolExecutor(1) as reader:
        ahead = None
        for window in windows:
            following = reader.submit(_read_window, storage, window)
            if ahead:
                yield from ahead.result()
            ahead = following
        if ahead:
            yield from ahead.result()


def pictures_of(rows: pa.Table) -> list[StoredPicture]:
    """Where the pictures of rows of the plan lie."""
    columns = (rows[name].to_pylist() for name in ("tar", "offset", "length", "stored_checksum"))
    return [*map(StoredPicture, *columns)]


def window_bytes(memory: int) -> int:
    """The bytes of a window's pictures: two windows are in memory, and a request fetches at most twice what is used of it."""
    return memory // 4


def requests_of(pictures: Sequence[StoredPicture]) -> list[Request]:
    """The requests that read pictures, by tar and place. Never is more thrown away than used."""
    requests: list[Request] = []
    for number in sorted(range(len(pictures)), key=lambda number: pictures[number][:2]):
        tar, start, length, _ = pictures[number]
        last = requests[-1] if requests else None
        if last and last.tar == tar and start - last.end <= min(MAX_GAP, length):
            last.numbers.append(number)
            requests[-1] = last._replace(end=max(last.end, start + length))
        else:
            requests.append(Request(tar, start, start + length, [number]))
    return requests


def _windows(pictures: Sequence[StoredPicture], memory: int) -> Iterator[Sequence[StoredPicture]]:
    """Runs of pictures of at most `memory` bytes, or of one."""
    first, size = 0, 0
    for number, picture in enumerate(pictures):
        if number > first and size + picture.length > memory:
            yield pictures[first:number]
            first, size = number, 0
        size += picture.length
    yield pictures[first:]


def _read_window(storage: Storage, pictures: Sequence[StoredPicture]) -> list[bytes | LostPicture]:
    read: list[bytes | LostPicture] = [LostPicture("missing")] * len(pictures)
    requests = requests_of(pictures)
    for request, data in zip(requests, _responses(storage, requests), strict=True):
        if data is not None:
            for number in request.numbers:
                read[number] = _checked(pictures[number], data, request.start)
    return read


def _checked(picture: StoredPicture, data: bytes, start: int) -> bytes | LostPicture:
    own = data[picture.offset - start :][: picture.length]
    is_unchanged = len(own) == picture.length and picture.checksum in (None, checksum_of(own))
    return own if is_unchanged else LostPicture("changed")


def _responses(storage: Storage, requests: Sequence[Request]) -> list[bytes | None]:
    """The bytes of each request, fewer where the tar ends before, None where there is no tar."""
    responses: list[bytes | None] = [None] * len(requests)
    remote: dict[fsspec.AbstractFileSystem, list[tuple[int, str]]] = {}
    local: dict[str, list[int]] = {}
    for number, request in enumerate(requests):
        tar = request.tar
        fs, path = file_system(tar) if "://" in tar else (storage.fs, storage.full(tar))
        if "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
            local.setdefault(path, []).append(number)
        else:
            remote.setdefault(fs, []).append((number, path))
    for path, numbers in local.items():
        for number, data in zip(numbers, _read_local(Path(path), [requests[number] for number in numbers]), strict=True):
            responses[number] = data
    for fs, places in remote.items():
        for (number, _), data in zip(places, _read_remote(fs, [(path, requests[n]) for n, path in places]), strict=True):
            responses[number] = data
    return responses


def _read_local(path: Path, requests: Sequence[Request]) -> list[bytes | None]:
    try:
        with path.open("rb") as handle:
            return [os.pread(handle.fileno(), request.end - request.start, request.start) for request in requests]
    except FileNotFoundError:
        return [None] * len(requests)


def _read_remote(fs: fsspec.AbstractFileSystem, requests: Sequence[tuple[str, Request]]) -> Iterator[bytes | None]:
    paths, starts, ends = zip(*((path, request.start, request.end) for path, request in requests), strict=True)
    for data in fs.cat_ranges([*paths], [*starts], [*ends], on_error="return"):
        if isinstance(data, FileNotFoundError):
            yield None
        elif isinstance(data, OSError) and data.errno == errno.EINVAL:  # the range begins behind the end
            yield b""
        elif isinstance(data, Exception):
            raise data
        else:
            yield data
