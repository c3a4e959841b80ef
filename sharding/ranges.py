"""Byte ranges of files: many at once, locally or from an object store, with as few wasted bytes as possible.

Of local files those that lie side by side are one read. Of remote ones a request costs more than some bytes, so ranges of a file
that lie close are fetched by one request, all requests side by side. What the world may cure (a 503, a cut connection, a stale
handle of NFS) is read again after a pause. An answer that is short without an error is the end of the file: it costs the ranges
behind it, and no neighbour in their request.
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard, TypeVar

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from infra.compat.errors import RequestError
from sharding.pread import read_ranges
from sharding.range_columns import Range, RangeColumns
from sharding.signed_gets import signed_gets

__all__ = [
    "LocalRanges",
    "Range",
    "RangeColumns",
    "RangeReader",
    "RemoteRanges",
    "ShortRead",
    "Traffic",
    "are_read",
    "coalesce",
    "covering",
    "is_lasting",
    "range_reader",
    "retried",
]

PAUSES = (0.2, 0.6, 2.0, 6.0)  # seconds before each further try; half to one and a half of it, so that readers do not act in step
GAP = 4096  # bytes between two ranges that are fetched rather than requested apart
WASTE = 0.15  # share of a request's bytes that may lie in larger gaps
NO_FILE = -1  # a descriptor that no file has
LONGEST = 8 << 20  # bytes of a request for several ranges
# Of errors that another try does not cure.
LASTING = {errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}

Result = TypeVar("Result")


class ShortRead(OSError):
    """A file that ends before a range does."""


@dataclass
class Traffic:
    """Requests (or reads), the bytes that they fetched, and the bytes that were wanted of these."""

    requests: int = 0
    fetched: int = 0
    used: int = 0


class RangeReader(ABC):
    """Reads ranges of files of one file system; for use by several threads."""

    def __init__(self) -> None:
        self.traffic, self._lock = Traffic(), threading.Lock()

    @abstractmethod
    def read(self, ranges: Sequence[Range]) -> list[bytes | Exception]:
        """The bytes of each range, or why they cannot be read."""

    def _count(self, requests: int, fetched: int, used: int) -> None:
        with self._lock:
            self.traffic.requests += requests
            self.traffic.fetched += fetched
            self.traffic.used += used


class _Descriptor:
    """An open file, closed when its last user lets go of it."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class LocalRanges(RangeReader):
    """Ranges of local files; the `open_files` used last stay open."""

    def __init__(self, open_files: int) -> None:
        super().__init__()
        self._open_files, self._descriptors = open_files, OrderedDict[str, _Descriptor]()

    def read(self, ranges: Sequence[Range]) -> list[bytes | Exception]:
        """The bytes of each range, or why they cannot be read."""
        return _persistently(self._read_once, ranges, before=self._forget)

    def _read_once(self, ranges: Sequence[Range]) -> list[bytes | Exception]:
        columns = RangeColumns.of(ranges)
        if len(columns.paths) <= self._open_files:
            return self._read_of(columns)
        results: list[bytes | Exception] = [b""] * len(columns)
        for first in range(0, len(columns.paths), self._open_files):  # so that no more files are open than may stay so
            own = np.flatnonzero((first <= columns.files) & (columns.files < first + self._open_files))
            part = RangeColumns(columns.paths, columns.files[own], columns.starts[own], columns.ends[own])
            for i, result in zip(own.tolist(), self._read_of(part), strict=True):
                results[i] = result
        return results

    def _read_of(self, ranges: RangeColumns) -> list[bytes | Exception]:
        """The bytes of ranges of a few files, by one call."""
        files = ranges.files.tolist()
        opened = {file: self._open(ranges.paths[file]) for file in sorted({*files})}
        numbers = np.full(len(ranges.paths), NO_FILE)
        for file, descriptor in opened.items():
            numbers[file] = descriptor.number if isinstance(descriptor, _Descriptor) else NO_FILE
        lengths = ranges.ends - ranges.starts
        data = read_ranges(np.stack([numbers[ranges.files], ranges.starts, lengths], axis=1))
        if _are_whole(data, size := int(lengths.sum())):
            self._count(len(ranges), size, size)
            return data
        results: list[bytes | Exception] = [
            error if isinstance(error := opened[file], OSError) else _whole_or_error(part, length)
            for part, length, file in zip(data, lengths.tolist(), files, strict=True)
        ]
        self._count(len(ranges), size := _size(results), size)
        return results

    def _forget(self, ranges: Sequence[Range]) -> None:
        """Opens files anew the next time, as a descriptor may have become stale (NFS)."""
        with self._lock:
            for where in ranges:
                self._descriptors.pop(where.path, None)

    def _open(self, path: str) -> _Descriptor | OSError:
        with self._lock:
            try:
                descriptor = self._descriptors.pop(path, None) or _Descriptor(path)
            except OSError as error:
                return error
            self._descriptors[path] = descriptor
            if len(self._descriptors) > self._open_files:
                self._descriptors.popitem(last=False)
            return descriptor


def _size(results: Sequence[bytes | Exception]) -> int:
    """The bytes that were read."""
    return sum(map(len, results)) if are_read(results) else sum(len(part) for part in results if isinstance(part, bytes))


def are_read(results: Sequence[bytes | Exception]) -> TypeGuard[list[bytes]]:
    """Whether no range failed."""
    return {*map(type, results)} <= {bytes}


def _are_whole(data: Sequence[bytes | int], size: int) -> TypeGuard[list[bytes | Exception]]:
    """Whether no range is an errno or short: each has at most what was asked of it, so the sum tells."""
    return {*map(type, data)} <= {bytes} and sum(map(len, data)) == size  # type: ignore[arg-type]


def _whole_or_error(data: bytes | int, size: int) -> bytes | OSError:
    return OSError(data, os.strerror(data)) if isinstance(data, int) else _whole(data, size)


class RemoteRanges(RangeReader):
    """Ranges of files on any fsspec file system, in coalesced requests, side by side where the file system can."""

    def __init__(self, fs: fsspec.AbstractFileSystem, waste: float = WASTE) -> None:
        super().__init__()
        self.fs, self.waste, self._gets = fs, waste, signed_gets(fs)

    def read(self, ranges: Sequence[Range]) -> list[bytes | Exception]:
        """The bytes of each range, or why they cannot be read."""
        ranges = [*ranges]
        results: list[bytes | Exception] = [b""] * len(ranges)  # what a range without bytes has, which no server takes
        groups = [group for group in coalesce(ranges, self.waste) if any(ranges[i].end > ranges[i].start for i in group)]
        requests = [covering(ranges, group) for group in groups]
        for group, request, answer in zip(groups, requests, _persistently(self._request, requests), strict=True):
            for i in group:
                start, end = (place - request.start for place in ranges[i][1:])
                results[i] = _part(answer, start, end)
        self._count(0, 0, _size(results))
        return results

    def _request(self, requests: Sequence[Range]) -> list[bytes | Exception]:
        fetched = self._gets.read(requests) if self._gets and self._gets.is_useful else [None] * len(requests)
        rest = iter(self._fetch([where for where, data in zip(requests, fetched, strict=True) if data is None]))
        answers = [next(rest) if data is None else data for data in fetched]
        self._count(len(requests), _size(answers), 0)
        return [_checked(answer, where.end - where.start) for answer, where in zip(answers, requests, strict=True)]

    def _fetch(self, requests: Sequence[Range]) -> Sequence[bytes | Exception]:
        """What the file system's own client gets."""
        if not requests:
            return []
        paths, starts, ends = (list(column) for column in zip(*requests, strict=True))
        try:
            answers: list[bytes | Exception] = self.fs.cat_ranges(paths, starts, ends, on_error="return")
        except Exception as error:  # file systems raise many kinds, and not all of them keep to on_error
            return [error] * len(requests)
        return answers


def _checked(answer: bytes | Exception, size: int) -> bytes | Exception:
    is_longer = isinstance(answer, bytes) and len(answer) > size
    return OSError("the answer is longer than the range, as of a server that has no ranges") if is_longer else answer


def _part(answer: bytes | Exception, start: int, end: int) -> bytes | Exception:
    """Bytes `start` … `end` - 1 of an answer. Of a range behind the end of the file an object store answers EINVAL."""
    if isinstance(answer, OSError) and answer.errno == errno.EINVAL:
        return ShortRead("the file ends before it")
    return answer if isinstance(answer, Exception) else _whole(answer[start:end], end - start)


def _whole(data: bytes, size: int) -> bytes | ShortRead:
    return data if len(data) == size else ShortRead("the file ends too early")


def coalesce(ranges: Sequence[Range], waste: float = WASTE) -> list[list[int]]:
    """Groups of ranges to be fetched by one request each, by their numbers: of one file, close together, and not too long.

    Up to GAP bytes between two are fetched in vain, and more where these are no more than the share `waste` of the request.
    """
    groups: list[list[int]] = []
    path, start, end, used = "", 0, 0, 0
    for i in sorted(range(len(ranges)), key=ranges.__getitem__):
        where = ranges[i]
        last, wanted = max(end, where.end), used + max(0, where.end - max(where.start, end))
        near = where.start - end <= GAP or last - start - wanted <= waste * (last - start)
        if groups and where.path == path and near and last - start <= LONGEST:
            groups[-1].append(i)
            end, used = last, wanted
        else:
            groups.append([i])
            path, start, end, used = where.path, where.start, where.end, where.end - where.start
    return groups


def covering(ranges: Sequence[Range], group: Sequence[int]) -> Range:
    """The smallest range that covers a group's."""
    return Range(ranges[group[0]].path, min(ranges[i].start for i in group), max(ranges[i].end for i in group))


def is_lasting(error: Exception) -> bool:
    """Whether another try would end as this one did."""
    if isinstance(error, (FileNotFoundError, PermissionError, ShortRead, RequestError, MemoryError, ImportError)):
        return True
    if type(error) in (ValueError, UnicodeEncodeError):  # of a name that no file system takes; a broken answer raises other kinds
        return True
    return isinstance(error, OSError) and error.errno in LASTING


def retried(read: Callable[[], Result]) -> Result:
    """The result of a read, tried again after pauses while it fails in a way that may pass."""
    for pause in PAUSES:
        try:
            return read()
        except Exception as error:  # file systems raise many kinds
            if is_lasting(error):
                raise
        time.sleep(pause * random.uniform(0.5, 1.5))
    return read()


def _persistently(
    read: Callable[[Sequence[Range]], list[bytes | Exception]],
    ranges: Sequence[Range],
    before: Callable[[Sequence[Range]], None] = lambda ranges: None,
) -> list[bytes | Exception]:
    """What `read` gives for each range; what fails in a way that may pass is read again after pauses, and after `before`."""
    answers = read(ranges)
    for pause in () if are_read(answers) else PAUSES:
        again = [i for i, answer in enumerate(answers) if isinstance(answer, Exception) and not is_lasting(answer)]
        if not again:
            break
        time.sleep(pause * random.uniform(0.5, 1.5))
        failed = [ranges[i] for i in again]
        before(failed)
        for i, answer in zip(again, read(failed), strict=True):
            answers[i] = answer
    return answers


def range_reader(fs: fsspec.AbstractFileSystem, open_files: int, waste: float = WASTE) -> RangeReader:
    """The reader for a file system."""
    return LocalRanges(open_files) if type(fs) is LocalFileSystem else RemoteRanges(fs, waste)
