"""Reads samples of shards by (shard, row), through the index: no tar is ever read from the start."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import NamedTuple

import fsspec
import numpy as np

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


class _Table:
    """An index as a row of numbers for each sample, as looking them up one by one in NumPy is slow.

    rows     int64[N, 2 M]: of each member its offset in the tar and its length, -1 where the sample has no such member
    outside  bool[N]: it does not lie in the tar
    """

    def __init__(self, index: Index, tar_bytes: int) -> None:
        self.members, self.sample_ids = list(index.offsets), index.sample_ids
        self.outside = index.outside(tar_bytes).tolist()
        columns = [column for member in self.members for column in (index.offsets[member], index.lengths[member])]
        self.rows = np.stack(columns, axis=1)


class _Place(NamedTuple):
    """Where a sample lies: its id, the members that it has, and the range of each."""

    sample_id: int
    members: list[str]
    ranges: list[Range]


class ShardReader:
    """Random access to the samples of one split, for several threads; keeps indexes and descriptors of the shards used last."""

    def __init__(self, dataset: Dataset, split: str, open_shards: int = OPEN_SHARDS) -> None:
        self.uri, self.tars, self.shards, self.open_shards = dataset.uri, dataset.tars, dataset.shards(split), open_shards
        self._tables, self._lock = OrderedDict[int, _Table](), threading.Lock()

    @cached_property
    def _fs(self) -> tuple[fsspec.AbstractFileSystem, str]:
        """The file system and the path of the tars on it; at the first read, as a connection does not outlive a fork."""
        return file_system(self.tars)

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
        shards = {shard for shard, _ in places}
        tables, paths = self._read_tables(shards), {shard: self._path(shard) for shard in shards}
        located = [self._place(tables[shard], paths[shard], shard, row) for shard, row in places]
        data = iter(self._ranges.read([where for place in located if isinstance(place, _Place) for where in place.ranges]))
        return [
            self._sample(at, place, [next(data) for _ in place.ranges]) if isinstance(place, _Place) else place
            for at, place in zip(places, located, strict=True)
        ]

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
        return f"{self.tars}/{tar_file(self.shards[shard].name)}, sample {row}"

    def _sample(self, at: tuple[int, int], place: _Place, data: list[bytes | Exception]) -> Sample | ReadError:
        members = dict[str, bytes]()
        for member, part in zip(place.members, data, strict=True):
            if isinstance(part, Exception):
                return ReadError(f"{self.name_of(*at)} cannot be read: {_cause(part)}", place.sample_id)
            members[member] = part
        return Sample.of_members(place.sample_id, members)

    def _place(self, table: _Table | ReadError, path: str, shard: int, row: int) -> _Place | ReadError:
        if isinstance(table, ReadError):
            return table
        if row >= len(table.rows):
            return ReadError(f"{self.name_of(shard, row)}: its index lists {len(table.rows)} samples; index it again")
        sample_id, numbers = int(table.sample_ids[row]), table.rows[row].tolist()
        if table.outside[row]:
            return ReadError(f"{self.name_of(shard, row)}: its index places it outside of the tar; index it again", sample_id)
        place = _Place(sample_id, [], [])
        for member, offset, length in zip(table.members, numbers[0::2], numbers[1::2], strict=True):
            if length >= 0:
                place.members.append(member)
                place.ranges.append(Range(path, offset, offset + length))
        return place

    def _read_tables(self, shards: set[int]) -> dict[int, _Table | ReadError]:
        """The index of each shard. Threads wait for each other here, as they need the same ones."""
        with self._lock:
            missing = sorted(shards - self._tables.keys())
            if len(missing) > 1:
                with ThreadPoolExecutor(INDEXES_AT_ONCE, "index") as pool:
                    read = list(pool.map(self._read_table, missing))
            else:
                read = [self._read_table(shard) for shard in missing]
            tables = self._tables | dict(zip(missing, read, strict=True))
            for shard in shards:
                if isinstance(table := tables[shard], _Table):  # what failed may be there the next time
                    self._tables[shard] = table
                    self._tables.move_to_end(shard)
            while len(self._tables) > self.open_shards:
                self._tables.popitem(last=False)
            return {shard: tables[shard] for shard in shards}

    def _read_table(self, shard: int) -> _Table | ReadError:
        name, tar_bytes = self.shards[shard].name, self.shards[shard].bytes
        try:
            return _Table(retried(lambda: read_index(self.uri, name)), tar_bytes)
        except MemoryError:
            raise
        except Exception as error:  # file systems raise many kinds
            return ReadError(f"{self.uri}/{tar_file(name)}: its index cannot be read: {_cause(error)}")

    def _path(self, shard: int) -> str:
        return f"{self._fs[1]}/{tar_file(self.shards[shard].name)}"


def _cause(error: Exception) -> str:
    if isinstance(error, ShortRead):
        return "the tar ends before it does; export it again, or copy it again"
    return failure_line(error) or f"{type(error).__name__}: {error}"
