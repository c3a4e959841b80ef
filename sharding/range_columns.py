"""Byte ranges of files: one, and many as columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np


class Range(NamedTuple):
    """Bytes `start` … `end` - 1 of the file at a path."""

    path: str
    start: int
    end: int


@dataclass(frozen=True)
class RangeColumns(Sequence[Range]):
    """Ranges as columns, as an object for each takes longer than to read it from memory.

    paths   of the files
    files   int64[R], the number of each range's path
    starts  int64[R]
    ends    int64[R]
    """

    paths: Sequence[str]
    files: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, ranges: Sequence[Range]) -> RangeColumns:
        """The columns of ranges."""
        if isinstance(ranges, RangeColumns):
            return ranges
        numbers = {path: number for number, path in enumerate(dict.fromkeys(path for path, _, _ in ranges))}
        files, starts, ends = np.array([(numbers[path], start, end) for path, start, end in ranges], np.int64).reshape(-1, 3).T
        return cls([*numbers], files, starts, ends)

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Range]:
        return map(Range, [self.paths[file] for file in self.files.tolist()], self.starts.tolist(), self.ends.tolist())

    @overload
    def __getitem__(self, at: int) -> Range: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Range]: ...
    def __getitem__(self, at: int | slice) -> Range | Sequence[Range]:
        if isinstance(at, slice):
            return RangeColumns(self.paths, self.files[at], self.starts[at], self.ends[at])
        return Range(self.paths[self.files[at]], int(self.starts[at]), int(self.ends[at]))
