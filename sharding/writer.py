"""Writes a shard in one pass: the tar, its checksum, and a row of the index for every sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sharding.index import Shard, index_bytes
from sharding.layout import index_file, tar_file
from sharding.sample import Sample, endings_of, key_of
from sharding.tar import Sink, TarWriter


class _Hashed:
    """A sink that passes bytes on and keeps their sha256."""

    def __init__(self, sink: Sink) -> None:
        self.sink, self.sha256 = sink, hashlib.sha256()

    def write(self, data: bytes, /) -> None:
        self.sha256.update(data)
        self.sink.write(data)


class ShardWriter:
    """Writes samples to the stream of a shard's tar and remembers where each lies."""

    def __init__(self, stream: Sink, name: str) -> None:
        self.name = name
        self.rows: list[dict[str, Any]] = []
        self._stream = _Hashed(stream)
        self._tar = TarWriter(self._stream)

    def add(self, sample_id: int, members: Mapping[str, bytes], repeat: int = 0, also: Sequence[int] = ()) -> None:
        """Writes a sample's members, in the mapping's order; ValueError where there are none, or two would have one name.

        `also` are ids of samples that this one holds besides its own.
        """
        if not members:
            raise ValueError(f"sample {sample_id} has no members")
        endings = endings_of(members)
        key = key_of(sample_id, repeat)
        places = self._tar.add(key, {endings[member]: data for member, data in members.items()})
        row: dict[str, Any] = {"sample_id": sample_id, **({"key": key} if repeat else {}), **({"also": [*also]} if also else {})}
        for member, ending in endings.items():
            row[f"{member}_offset"], row[f"{member}_length"] = places[ending]
        self.rows.append(row)

    def close(self) -> Shard:
        """Ends the tar; returns the shard's record."""
        self._tar.close()
        return Shard(self.name, len(self.rows), self._tar.position, self._stream.sha256.hexdigest())


def write_shard(folder: Path, name: str, samples: Iterable[Sample]) -> Shard:
    """Writes a shard's tar and index into a local folder; returns its record."""
    with (folder / tar_file(name)).open("wb") as stream:
        writer = ShardWriter(stream, name)
        for sample in samples:
            writer.add(sample.sample_id, sample.members(), sample.repeat, sample.also)
        shard = writer.close()
    (folder / index_file(name)).write_bytes(index_bytes(writer.rows))
    return shard
