"""Reads samples of shards by (shard, row), through the index: no tar is ever read from the start."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import fsspec

from infra.compat.errors import RequestError
from infra.compat.failures import failure_line
from infra.compat.files import file_system
from sharding.index import Dataset, Index, read_index
from sharding.layout import tar_file
from sharding.ranges import Range, RangeReader, ShortRead, Traffic, range_reader, retried
from sharding.sample import Sample

OPEN_SHARDS = 64
INDEXES_AT_ONCE = 16


class ReadError(RequestError):
    """A sample that cannot be read; `sample_id` is -1 where its index cannot be read either."""

    def __init__(self, message: str, sample_id: int = -1) -> None:
        super().__init__(message)
        self.sample_id = sample_id


class ShardReader:
    """Random access to the samples of one split, for several threads; keeps indexes and descriptors of the shards used last."""

    def __init__(self, dataset: Dataset, split: str, open_shards: int = OPEN_SHARDS) -> None:
        self.uri, self.shards, self.open_shards = dataset.uri, dataset.shards(split), open_shards
        self._indexes, self._lock = OrderedDict[int, Index](), threading.Lock()

    @cached_property
    def _fs(self) -> tuple[fsspec.AbstractFileSystem, str]:
        """The file system and the dataset's path on it; at the first read, as a connection does not outlive a fork."""
        return file_system(self.uri)

    @cached_property
    def _ranges(self) -> RangeReader:
        return range_reader(self._fs[0], self.open_shards)

    @property
    def traffic(self) -> Traffic:
        """What was read of tars so far."""
        return self._ranges.traffic

    def sizes(self) -> list[int]:
        """Samples in each shard."""
        return [shard.samples for shard in self.shards]

    def read(self, shard: int, row: int) -> Sample:
        """The sample at a row of a shard; ReadError when it cannot be read."""
        return self.read_all([(shard, row)])[0]

    def read_many(self, places: Sequence[tuple[int, int]]) -> list[Sample | ReadError]:
        """The sample at each (shard, row), or why it cannot be read; all are read side by side."""
        indexes = self._read_indexes({shard for shard, _ in places})
        spans = [self._spans(indexes[shard], shard, row) for shard, row in places]
        ranges = [
            Range(self._path(shard), offset, offset + length)
            for (shard, _), members in zip(places, spans, strict=True)
            if not isinstance(members, ReadError)
            for offset, length in members.values()
        ]
        data = iter(self._ranges.read(ranges))
        samples: list[Sample | ReadError] = []
        for (shard, row), members in zip(places, spans, strict=True):
            if isinstance(members, ReadError):
                samples.append(members)
            else:
                sample_id = int(indexes[shard].sample_ids[row])  # type: ignore[union-attr]
                samples.append(self._sample(shard, row, sample_id, {member: next(data) for member in members}))
        return samples

    def read_all(self, places: Sequence[tuple[int, int]]) -> list[Sample]:
        """The sample at each (shard, row); ReadError when one cannot be read."""
        samples: list[Sample] = []
        for sample in self.read_many(places):
            if isinstance(sample, ReadError):
                raise sample
            samples.append(sample)
        return samples

    def name_of(self, shard: int, row: int) -> str:
        """Where a sample lies: the tar's URI and the number of the sample in it."""
        return f"{self.uri}/{tar_file(self.shards[shard].name)}, sample {row}"

    def _sample(self, shard: int, row: int, sample_id: int, members: dict[str, bytes | Exception]) -> Sample | ReadError:
        for member, data in members.items():
            if isinstance(data, Exception):
                return ReadError(f"{self.name_of(shard, row)}: its {member} cannot be read: {_cause(data)}", sample_id)
        return Sample.of_members(sample_id, members)  # type: ignore[arg-type]

    def _spans(self, index: Index | ReadError, shard: int, row: int) -> dict[str, tuple[int, int]] | ReadError:
        """Member → (offset, length) of a sample."""
        if isinstance(index, ReadError):
            return index
        if row >= len(index.sample_ids):
            return ReadError(f"{self.name_of(shard, row)}: its index lists {len(index.sample_ids)} samples; index it again")
        return index.spans(row)

    def _read_indexes(self, shards: set[int]) -> dict[int, Index | ReadError]:
        """The index of each shard. Threads wait for each other here, as they need the same ones."""
        with self._lock:
            missing = sorted(shards - self._indexes.keys())
            if len(missing) > 1:
                with ThreadPoolExecutor(INDEXES_AT_ONCE, "index") as pool:
                    read = list(pool.map(self._read_index, missing))
            else:
                read = [self._read_index(shard) for shard in missing]
            indexes = self._indexes | dict(zip(missing, read, strict=True))
            for shard in shards:
                if isinstance(index := indexes[shard], Index):  # what failed may be there the next time
                    self._indexes[shard] = index
                    self._indexes.move_to_end(shard)
            while len(self._indexes) > self.open_shards:
                self._indexes.popitem(last=False)
            return indexes

    def _read_index(self, shard: int) -> Index | ReadError:
        name = self.shards[shard].name
        try:
            return retried(lambda: read_index(self.uri, name))
        except MemoryError:
            raise
        except Exception as error:  # file systems raise many kinds
            return ReadError(f"{self.uri}/{tar_file(name)}: its index cannot be read: {_cause(error)}")

    def _path(self, shard: int) -> str:
        return f"{self._fs[1]}/{tar_file(self.shards[shard].name)}"


def _cause(error: Exception) -> str:
    if isinstance(error, ShortRead):
        return "the tar ends before it; export it again, or copy it again"
    return failure_line(error) or f"{type(error).__name__}: {error}"
