"""Where a picture's bytes lie, and that they are still those that were fetched."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from typing import NamedTuple

from infra.compat.files import file_system
from pipelines.manifest.storage import Storage
from sharding.ranges import Range, RangeReader, ShortRead, range_reader

STORED = ("tar", "tar_offset", "tar_length", "stored_checksum")  # the columns of the manifest that say where
OPEN_TARS = 16
MISSING, CHANGED, UNDECODABLE = "missing", "changed", "undecodable"  # why nothing can be made of a stored picture
LOST = (MISSING, CHANGED)  # of these its tar is the reason: where that is put back as it was, the picture can be read again


class StoredPicture(NamedTuple):
    """Where a picture's bytes lie, and their checksum; None for one that an earlier version fetched."""

    tar: str
    offset: int
    length: int
    checksum: int | None = None


class ChangedPicture(ValueError):
    """The bytes are not those that were fetched."""


def checksum_of(data: bytes) -> int:
    """The first 64 bits of the sha256: as good against damage as all 256, at a quarter of the space."""
    return checksum_of_sha256(hashlib.sha256(data).hexdigest())


def checksum_of_sha256(sha256: str) -> int:
    """The checksum of data whose sha256, in hex, is known."""
    return int(sha256[:16], 16)


def read_stored(storage: Storage, picture: StoredPicture) -> bytes:
    """The bytes of a picture; ChangedPicture where they are not those that were fetched, FileNotFoundError without a tar."""
    return verified(picture, storage.read_range(picture.tar, picture.offset, picture.length))


def verified(picture: StoredPicture, data: bytes | Exception) -> bytes:
    """What was read of a picture; ChangedPicture where it is not what was fetched, else the error of reading it."""
    if isinstance(data, Exception) and not isinstance(data, ShortRead):
        raise data
    if isinstance(data, ShortRead) or len(data) != picture.length or picture.checksum not in (None, checksum_of(data)):
        raise ChangedPicture(f"{picture.tar} has changed since fetch: other bytes at {picture.offset}")
    return data


class PictureReader:
    """Reads many stored pictures at once, neighbours in a tar by one request, all requests side by side; for several threads."""

    def __init__(self, storage: Storage) -> None:
        self._storage, self._lock = storage, threading.Lock()
        self._readers: dict[str, RangeReader] = {}  # by scheme; that of the root's own file system is ""

    def read(self, pictures: Sequence[StoredPicture]) -> list[bytes | Exception]:
        """The bytes of each picture, not verified yet, or why they cannot be read."""
        by_scheme: dict[str, list[int]] = {}
        for number, picture in enumerate(pictures):
            by_scheme.setdefault(picture.tar.partition("://")[0] if "://" in picture.tar else "", []).append(number)
        results: list[bytes | Exception] = [b""] * len(pictures)
        for scheme, numbers in by_scheme.items():
            reader = self._reader(scheme, pictures[numbers[0]].tar)
            ranges = [self._range(pictures[number]) for number in numbers]
            for number, result in zip(numbers, reader.read(ranges), strict=True):
                results[number] = result
        return results

    def _reader(self, scheme: str, tar: str) -> RangeReader:
        with self._lock:
            if scheme not in self._readers:
                self._readers[scheme] = range_reader(file_system(tar)[0] if scheme else self._storage.fs, OPEN_TARS)
            return self._readers[scheme]

    def _range(self, picture: StoredPicture) -> Range:
        path = file_system(picture.tar)[1] if "://" in picture.tar else self._storage.full(picture.tar)
        return Range(path, picture.offset, picture.offset + picture.length)
