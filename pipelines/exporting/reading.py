"""Reads many pictures, in any order, within a bound of memory: a window of them while the one before is used.

The pictures of a window are read side by side, those that lie close together in a remote tar by one request. One at a time would
cost a request's latency each: 30 pictures a second from an object store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pyarrow as pa

from infra.compat.files import file_system
from pipelines.exporting.pictures import LostPicture
from pipelines.manifest.pictures import StoredPicture, checksum_of
from pipelines.manifest.storage import Storage
from sharding.ranges import Range, ShortRead, range_reader

WASTE = 0.5  # share of a request's bytes that may be thrown away
OPEN_TARS = 64


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
    ranges: dict[fsspec.AbstractFileSystem, dict[int, Range]] = {}
    for number, (tar, offset, length, _) in enumerate(pictures):
        fs, path = file_system(tar) if "://" in tar else (storage.fs, storage.full(tar))
        ranges.setdefault(fs, {})[number] = Range(path, offset, offset + length)
    for fs, by_number in ranges.items():
        data = range_reader(fs, OPEN_TARS, WASTE).read([*by_number.values()])
        for number, own in zip(by_number, data, strict=True):
            read[number] = _checked(pictures[number], own)
    return read


def _checked(picture: StoredPicture, data: bytes | Exception) -> bytes | LostPicture:
    """A picture's bytes, or why they are not exported; raises the error of a store that may be cured."""
    if isinstance(data, FileNotFoundError):
        return LostPicture("missing")
    if isinstance(data, ShortRead):
        return LostPicture("changed")
    if isinstance(data, Exception):
        raise data
    return data if picture.checksum in (None, checksum_of(data)) else LostPicture("changed")
