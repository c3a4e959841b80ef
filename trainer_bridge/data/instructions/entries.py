"""The published entries of a set by row, wherever they lie: in an annotation file, or in indexed shards."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from infra.compat.errors import RequestError
from sharding.columns import ReadError
from sharding.conversation_sets import ConversationSet
from sharding.index import Dataset, read_dataset
from sharding.lines import Lines
from sharding.reader import ShardReader
from sharding.sample import Sample

MORE = re.compile(r"(\d+)\.\w+")  # members of a sample that are pictures after the first


class Entry(NamedTuple):
    """A published entry: its JSON, and the pictures that lie beside it in shards; None in a file, whose entries name theirs."""

    data: bytes
    pictures: tuple[bytes, ...] | None = None


class Entries(Protocol):
    """The entries of a set by row."""

    def __len__(self) -> int: ...

    def read_many(self, rows: Sequence[int]) -> Sequence[Entry | Exception]:
        """The entry at each row, or why it cannot be read."""

    def name_of(self, row: int) -> str:
        """Where an entry lies, for messages."""


class FileEntries:
    """The entries of an annotation file."""

    def __init__(self, lines: Lines) -> None:
        self.lines, self.name_of = lines, lines.name_of

    def __len__(self) -> int:
        return len(self.lines)

    def read_many(self, rows: Sequence[int]) -> list[Entry | Exception]:
        """The entry at each row, or why it cannot be read."""
        return [data if isinstance(data, Exception) else Entry(data) for data in self.lines.read_many(rows)]


class ShardEntries:
    """The json members of samples in indexed shards, with their pictures."""

    def __init__(self, dataset: Dataset, split: str) -> None:
        self.reader = ShardReader(dataset, split)
        self.ends = np.cumsum(self.reader.sizes())

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def read_many(self, rows: Sequence[int]) -> list[Entry | Exception]:
        """The entry at each row, or why it cannot be read."""
        samples = self.reader.read_many([self._place(row) for row in rows])
        return [sample if isinstance(sample, ReadError) else Entry(sample.json, tuple(_pictures(sample))) for sample in samples]

    def name_of(self, row: int) -> str:
        """Where a sample lies."""
        return self.reader.name_of(*self._place(row))

    def _place(self, row: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self.ends, row, side="right"))
        return shard, row - (int(self.ends[shard - 1]) if shard else 0)


def open_entries(each: ConversationSet) -> Entries:
    """The entries of a set; RequestError in one line when they are not there."""
    if not each.shards:
        return FileEntries(Lines(each.annotation))
    dataset = _dataset(each.shards)
    if each.split not in dataset.splits:
        raise RequestError(
            f"set {each.name!r}: {each.shards} has no split {each.split!r}; it has {', '.join(sorted(dataset.splits))}"
        )
    return ShardEntries(dataset, each.split)


def other_length(each: ConversationSet, entries: Entries) -> str:
    """A clause on a set that has not as many entries as its meta file says, else empty."""
    told = f"set {each.name!r} has {len(entries):,} entries, not {each.length:,} as its meta file says"
    return told if each.length not in (0, len(entries)) else ""


def _pictures(sample: Sample) -> Iterator[bytes]:
    """The pictures of a sample in their order: its image, and of several the others as `2.jpg`, `3.png` …"""
    if sample.image:
        yield sample.image
    numbered = ((int(match[1]), name) for name in sample.others if (match := MORE.fullmatch(name)))
    yield from (sample.others[name] for _, name in sorted(numbered))


def _dataset(uri: str) -> Dataset:
    try:
        return read_dataset(uri)
    except FileNotFoundError:
        raise RequestError(f"{uri} holds no indexed shards; index them with `pairmill index`") from None
