"""Many pieces of files, read side by side; those that lie close together are one request."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import fsspec

GAP = 64 << 10  # bytes: reading so many in vain costs less than a request
LONGEST = 8 << 20  # bytes of one request
TRIES, PAUSE = 4, 0.5  # seconds before the second try, doubled for each further one


class Span(NamedTuple):
    """A piece of a file, in bytes."""

    path: str
    offset: int
    length: int


def read_spans(fs: fsspec.AbstractFileSystem, spans: Sequence[Span]) -> list[bytes]:
    """The bytes of each span, fewer where its file ends before; the error of a file that cannot be read after some tries."""
    requests, request_of = coalesced(spans)
    data = _fetch(fs, requests)
    pieces = []
    for span, number in zip(spans, request_of, strict=True):
        start = span.offset - requests[number].offset
        pieces.append(data[number][start : start + span.length])
    return pieces


def coalesced(spans: Sequence[Span]) -> tuple[list[Span], list[int]]:
    """Requests that cover all spans, and for each span the number of its request."""
    requests, request_of = list[Span](), [0] * len(spans)
    for place in sorted(range(len(spans)), key=lambda place: spans[place]):
        path, offset, length = spans[place]
        last = requests[-1] if requests else None
        if last and last.path == path and offset <= last.offset + last.length + GAP:
            end = max(last.offset + last.length, offset + length)
            if end - last.offset <= LONGEST:
                requests[-1] = Span(path, last.offset, end - last.offset)
                request_of[place] = len(requests) - 1
                continue
        requests.append(spans[place])
        request_of[place] = len(requests) - 1
    return requests, request_of


def _fetch(fs: fsspec.AbstractFileSystem, requests: Sequence[Span]) -> list[bytes]:
    data: dict[int, bytes] = {}
    for attempt in range(TRIES):
        todo = [number for number in range(len(requests)) if number not in data]
        if not todo:
            break
        time.sleep(PAUSE * 2**attempt if attempt else 0)
        paths, starts, lengths = zip(*(requests[number] for number in todo), strict=True)
        ends = [start + length for start, length in zip(starts, lengths, strict=True)]
        error: Exception | None = None
        for number, result in zip(todo, fs.cat_ranges(list(paths), list(starts), ends, on_error="return"), strict=True):
            if isinstance(result, Exception):
                error = result
            else:
                data[number] = result
        if error is not None and (attempt == TRIES - 1 or isinstance(error, FileNotFoundError)):
            raise error
    return [data[number] for number in range(len(requests))]
