"""Where a picture's bytes lie, and that they are still those that were fetched."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from pipelines.manifest.storage import Storage

STORED = ("tar", "tar_offset", "tar_length", "stored_checksum")  # the columns of the manifest that say where


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
    data = storage.read_range(picture.tar, picture.offset, picture.length)
    if len(data) != picture.length or picture.checksum not in (None, checksum_of(data)):
        raise ChangedPicture(f"{picture.tar} has changed since fetch: other bytes at {picture.offset}")
    return data
