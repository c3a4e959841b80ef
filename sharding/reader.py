"""Reads samples of shards by (shard, row), through the index: no tar is ever read from the start."""

from __future__ import annotations

from collections import OrderedDict

import fsspec

from infra.compat.errors import RequestError
from infra.compat.files import file_system
from sharding.index import Dataset, Index, read_index
from sharding.layout import tar_file
from sharding.sample import Sample

OPEN_SHARDS = 32


class ShardReader:
    """Random access to the samples of one split; keeps the indexes and file handles of the shards used last."""

    def __init__(self, dataset: Dataset, split: str) -> None:
        self.uri, self.shards = dataset.uri, dataset.shards(split)
        self.fs, self.path = file_system(dataset.tars)
        self.open: OrderedDict[int, tuple[Index, fsspec.spec.AbstractBufferedFile]] = OrderedDict()

    def read(self, shard: int, row: int) -> Sample:
        """The sample at a row of a shard, by one read over all its members."""
        index, handle = self._open(shard)
        spans = index.spans(row)
        start, end = min(offset for offset, _ in spans.values()), max(offset + length for offset, length in spans.values())
        handle.seek(start)
        data = handle.read(end - start)
        if len(data) < end - start:
            where = f"{self.uri}/{tar_file(self.shards[shard].name)}"
            raise RequestError(f"{where} ends before the sample at row {row}; export it again, or copy it again")
        members = {member: data[offset - start :][:length] for member, (offset, length) in spans.items()}
        return Sample.of_members(int(index.sample_ids[row]), members)

    def _open(self, shard: int) -> tuple[Index, fsspec.spec.AbstractBufferedFile]:
        if shard not in self.open:
            while len(self.open) >= OPEN_SHARDS:
                self.open.popitem(last=False)[1][1].close()
            name = self.shards[shard].name
            self.open[shard] = read_index(self.uri, name), self.fs.open(f"{self.path}/{tar_file(name)}", "rb")
        self.open.move_to_end(shard)
        return self.open[shard]

    def sizes(self) -> list[int]:
        """Samples in each shard."""
        return [shard.samples for shard in self.shards]
