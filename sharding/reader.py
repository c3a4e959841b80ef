"""Reads samples of shards by (shard, row), through the index: no tar is ever read from the start."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import fsspec
import pyarrow as pa

from sharding.index import Dataset, read_index

OPEN_SHARDS = 32


@dataclass(frozen=True)
class Sample:
    """One sample as stored: `image` and `json` bytes, `text` decoded."""

    sample_id: int
    image: bytes
    text: str
    json: bytes


class ShardReader:
    """Random access to the samples of one split; keeps the indexes and file handles of the shards used last."""

    def __init__(self, dataset: Dataset, split: str) -> None:
        self.uri, self.shards = dataset.uri, dataset.shards(split)
        self.fs, self.path = fsspec.core.url_to_fs(dataset.uri)
        self.open: OrderedDict[int, tuple[pa.Table, fsspec.spec.AbstractBufferedFile]] = OrderedDict()

    def read(self, shard: int, row: int) -> Sample:
        """The sample at a row of a shard."""
        index, handle = self._open(shard)
        place = {name: index[name][row].as_py() for name in index.column_names}
        start = place["image_offset"]
        end = place["json_offset"] + place["json_length"]
        handle.seek(start)
        data = handle.read(end - start)  # the members of a sample lie side by side

        def member(name: str) -> bytes:
            offset = place[f"{name}_offset"] - start
            return bytes(data[offset : offset + place[f"{name}_length"]])

        return Sample(place["sample_id"], member("image"), member("text").decode(), member("json"))

    def _open(self, shard: int) -> tuple[pa.Table, fsspec.spec.AbstractBufferedFile]:
        if shard not in self.open:
            while len(self.open) >= OPEN_SHARDS:
                self.open.popitem(last=False)[1][1].close()
            name = self.shards[shard].name
            self.open[shard] = read_index(self.uri, name), self.fs.open(f"{self.path}/{name}.tar", "rb")
        self.open.move_to_end(shard)
        return self.open[shard]

    def sizes(self) -> list[int]:
        """Samples in each shard."""
        return [shard.samples for shard in self.shards]
