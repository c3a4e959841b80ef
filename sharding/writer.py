"""Writes WebDataset tars. The same samples in the same order give the same bytes: no clock, no owner, no host in them."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from typing import IO

BLOCK = 512


class ShardWriter:
    """Appends samples to a tar stream; close() ends the tar. Offsets are those of the data, not of the headers."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.position = 0

    def add(self, key: str, sample: Mapping[str, bytes]) -> dict[str, tuple[int, int]]:
        """Writes `<key>.<ending>` for each ending; returns ending → (offset, length) in bytes.

        The key may hold no dot (WebDataset splits names at the first one) and at most 90 bytes.
        """
        if "." in key or "/" in key or not 0 < len(key.encode()) <= 90:
            raise ValueError(f"a sample's key may hold no dot or slash and 1 to 90 bytes: {key!r}")
        return {ending: self._add_member(f"{key}.{ending}", data) for ending, data in sample.items()}

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
