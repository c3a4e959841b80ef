"""Writes WebDataset tars. The same samples in the same order give the same bytes: no clock, no owner, no host in them."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from typing import Protocol

BLOCK = 512
LONGEST_KEY = 90  # bytes; with an ending it must fit the 100 of a USTAR header


class Sink(Protocol):
    """Where the bytes of a tar go: an open file, or whatever else has this method."""

    def write(self, data: bytes, /) -> object:
        """Appends the bytes."""


class TarWriter:
    """Appends members to a tar stream; close() ends the tar. Offsets are those of the data, not of the headers."""

    def __init__(self, stream: Sink) -> None:
        self.stream = stream
        self.position = 0

    def add(self, key: str, members: Mapping[str, bytes]) -> dict[str, tuple[int, int]]:
        """Writes `<key>.<ending>` for each ending, in the mapping's order; returns ending → (offset, length) in bytes.

        ValueError when the key holds a dot or slash (WebDataset splits names at the first dot) or has not 1 to 90 bytes.
        """
        if "." in key or "/" in key or not 0 < len(key.encode()) <= LONGEST_KEY:
            raise ValueError(f"a sample's key must hold no dot or slash and have 1 to {LONGEST_KEY} bytes: {key!r}")
        return {ending: self._add_member(f"{key}.{ending}", data) for ending, data in members.items()}

    def _add_member(self, name: str, data: bytes) -> tuple[int, int]:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        header = info.tobuf(tarfile.USTAR_FORMAT)
        offset = self.position + len(header)
        padding = -len(data) % BLOCK
        self.stream.write(header + data + b"\0" * padding)
        self.position = offset + len(data) + padding
        return offset, len(data)

    def close(self) -> None:
        """Writes the two empty blocks that end a tar."""
        self.stream.write(b"\0" * (2 * BLOCK))
        self.position += 2 * BLOCK
