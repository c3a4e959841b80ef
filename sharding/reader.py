"""Reads samples of shards by (shard, row), through the index: no tar is ever read from the start."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import fsspec
import numpy as np

from infra.compat.failures import failure_line
from infra.compat.files import file_system
from sharding.columns import ReadError, SampleColumns
from sharding.index import Dataset, Index, read_index
from sharding.layout import tar_file
from sharding.ranges import LocalRanges, RangeColumns, RangeReader, ShortRead, Traffic, are_read, range_reader, retried
from sharding.sample import Sample

OPEN_SHARDS = 64
INDEXES_AT_ONCE = 16


class _Table:
    """An index as a row of numbers for each sample, so that those of many samples are looked up at once.

    members  names of the M members that samples may have
    numbers  int64[N + 1, 2 + 2 M]: the bits of the sample's id, whether it lies outside of the tar, and of each member its offset
             and its length, -1 where the sample has no such member; the last row is for samples that the index lacks
    """

    def __init__(self, index: Index, tar_bytes: int) -> None:
        self.members = tuple(index.offsets)
        places = [column for member in self.members for column in (index.offsets[member], index.lengths[member])]
        own = [index.sample_ids.view(np.int64), index.outside(tar_bytes), *places]
        self.numbers = np.vstack([np.stack(own, axis=1), np.ones((1, len(own)), np.int64)])

    def __len__(self) -> int:
        return len(self.numbers) - 1


class _Part(NamedTuple):
    """Samples of one tar: its path, their numbers among those that are read, and their rows of the table."""

    path: str
    at: np.ndarray
    numbers: np.ndarray


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
    def is_local(self) -> bool:
        """Whether the tars are local files."""
        return isinstance(self._ranges, LocalRanges)

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

    def read_many(self, places: Sequence[tuple[int, int]] | np.ndarray) -> list[Sample | ReadError]:
        """The sample at each (shard, row), int64[N, 2], or why it cannot be read; all are read side by side."""
        columns = self.read_columns(places)
        return [columns[i] for i in range(len(columns))]

    def read_columns(self, places: Sequence[tuple[int, int]] | np.ndarray) -> SampleColumns:
        """The same as columns."""
        places = np.asarray(places, np.int64).reshape(-1, 2)
        samples, order = SampleColumns.empty(len(places)), np.argsort(places[:, 0], kind="stable")
        shards, rows = places[order].T
        firsts = np.flatnonzero(np.diff(shards, prepend=-1)).tolist()
        tables = self._read_tables({*shards[firsts].tolist()})
        kinds: dict[tuple[str, ...], list[_Part]] = {}  # tars that others wrote may differ in what members they have
        for first, end in pairwise([*firsts, len(places)]):
            at, shard = order[first:end], int(shards[first])
            table = tables[shard]
            if isinstance(table, ReadError):
                for i in at.tolist():
                    samples.fail(i, table)
            else:
                numbers = table.numbers[np.minimum(rows[first:end], len(table))]
                kinds.setdefault(table.members, []).append(_Part(self._path(shard), at, numbers))
        for members, parts in kinds.items():
            self._read_parts(members, parts, places, samples)
        return samples

    def _read_parts(self, names: tuple[str, ...], parts: Sequence[_Part], places: np.ndarray, samples: SampleColumns) -> None:
        """Reads the samples of the parts; `names` are those of all members that these may have."""
        paths, at, numbers = zip(*parts, strict=True)
        at, numbers, files = np.concatenate(at), np.concatenate(numbers), np.repeat(range(len(parts)), [*map(len, at)])
        if (is_outside := numbers[:, 1] != 0).any():
            for i in at[is_outside].tolist():
                samples.fail(i, self._misplaced(*places[i].tolist()))
            at, numbers, files = at[~is_outside], numbers[~is_outside], files[~is_outside]
        starts, lengths = numbers[:, 2::2], numbers[:, 3::2]
        is_there = lengths >= 0
        ends = (starts + lengths)[is_there]
        data = self._ranges.read(RangeColumns(paths, np.repeat(files, is_there.sum(axis=1)), starts[is_there], ends))
        owners, members = np.nonzero(is_there)  # of each range its sample and its member
        if are_read(data):
            faults, read = dict[int, Exception](), data
        else:
            faults = {k: part for k, part in enumerate(data) if isinstance(part, Exception)}
            read = [b"" if isinstance(part, Exception) else part for part in data]
        samples.identify(at.tolist(), numbers[:, 0].astype(np.uint64).tolist())
        for member, name in enumerate(names):
            if len(read) == is_there.size:  # no sample lacks a member
                samples.fill(name, at.tolist(), read[member :: len(names)])
            else:
                chosen = np.flatnonzero(members == member)
                samples.fill(name, at[owners[chosen]].tolist(), [read[k] for k in chosen.tolist()])
        for k in sorted(faults, reverse=True):  # of several faults the first is told
            i, sample_id = int(at[owners[k]]), int(numbers[owners[k], 0].astype(np.uint64))
            samples.fail(i, ReadError(f"{self.name_of(*places[i].tolist())} cannot be read: {_cause(faults[k])}", sample_id))

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

    def _misplaced(self, shard: int, row: int) -> ReadError:
        table, name = self._read_tables({shard})[shard], self.name_of(shard, row)
        if isinstance(table, ReadError):
            return table
        if row >= len(table):
            return ReadError(f"{name}: its index lists {len(table)} samples; index it again")
        return ReadError(
            f"{name}: its index places it outside of the tar; index it again", int(table.numbers[row, 0].astype(np.uint64))
        )

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
