"""Where each entry of a file of JSON lies, lines or one list, so that any can be read without reading the file into memory.

The places are found in one pass and kept in the cache folder, as numbers that are mapped into memory and not read: a file of 50 M
lines costs each rank nothing. They are found again when the file has another size or time.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import fsspec
import numpy as np

from infra.compat.errors import RequestError
from infra.compat.files import file_system
from infra.compat.paths import absolute, cache_folder
from sharding.ranges import Range, RangeReader, range_reader
from sharding.tar_headers import COMPRESSED

CHUNK = 16 << 20  # bytes that are read at once
LARGEST = 256 << 20  # bytes of an entry; what ends none before is neither JSON lines nor a list
SPACE = re.compile(r"[\s,]*")
VERSION = 3
HEADER = 4  # numbers before the places that are kept: the stamp, and how many entries there are
DAY = 86_400.0  # seconds after which nobody writes any more to places that are not whole


class Block(NamedTuple):
    """Entries that lie one after the other in a file.

    data   a stretch of the file
    spans  int64[N, 2]: start and end of each entry in it
    place  where it begins in the file
    """

    data: bytes
    spans: np.ndarray
    place: int

    def entries(self) -> list[bytes]:
        """The bytes of each entry."""
        return [self.data[start:end] for start, end in self.spans.tolist()]

    def cut(self, size: int) -> Iterator[Block]:
        """The same in blocks of `size` entries, without what lies between."""
        for first in range(0, len(self.spans), size):
            spans = self.spans[first : first + size]
            start, end = int(spans[0, 0]), int(spans[-1, 1])
            yield Block(self.data[start:end], spans - start, self.place + start)


class Lines:
    """The entries of a file at a path or URI; RequestError in one line when it is neither JSON lines nor a JSON list.

    Called in several threads.
    """

    def __init__(self, uri: str) -> None:
        self.uri = absolute(uri)
        for _ in new_blocks(uri):
            pass
        kept = _kept_places(self.uri)
        places = _read_places(kept)
        if places is None:
            raise RequestError(f"{kept} was changed by others while {uri} was read; run it again")
        self.stamp, self.spans = places

    def __len__(self) -> int:
        return len(self.spans)

    def read_many(self, rows: Sequence[int]) -> list[bytes | Exception]:
        """The bytes of each entry, or why they cannot be read."""
        path = self._fs[1]
        return self._ranges.read([Range(path, *self.spans[row].tolist()) for row in rows])

    def name_of(self, row: int) -> str:
        """Where an entry lies, for messages: entries count from 1, as lines do."""
        return entry_name(self.uri, row)

    @cached_property
    def _fs(self) -> tuple[fsspec.AbstractFileSystem, str]:
        """At the first read, as a connection does not outlive a fork."""
        return file_system(self.uri)

    @cached_property
    def _ranges(self) -> RangeReader:
        return range_reader(self._fs[0], 1)


def entry_name(uri: str, row: int) -> str:
    """Where an entry of a file lies, for messages."""
    return f"{absolute(uri)}, entry {row + 1}"


def new_blocks(uri: str) -> Iterator[Block]:
    """All entries of a file whose places are not kept yet, in order, read once; none of another.

    The places are kept when the last has been taken. RequestError as of `Lines`.
    """
    uri = absolute(uri)
    kept, stamp = _kept_places(uri), _stamp(uri)
    places = _read_places(kept)
    if places is not None and (places[0] == stamp).all():
        return
    fs, path = file_system(uri)
    kept.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(kept)
    temporary = kept.with_name(f".{kept.name}.{uuid.uuid4().hex}")
    count = 0
    try:
        with fs.open(path, "rb") as handle, temporary.open("wb") as file:
            file.write(bytes(8 * HEADER))
            for block in _blocks(handle, uri):
                file.write((block.spans + block.place).tobytes())
                count += len(block.spans)
                yield block
            file.seek(0)
            file.write(np.append(stamp, count).tobytes())
        temporary.replace(kept)
    finally:
        temporary.unlink(missing_ok=True)


def file_size(uri: str) -> int:
    """Bytes of a file; RequestError as of `Lines`."""
    return int(_stamp(absolute(uri))[1])


def _kept_places(uri: str) -> Path:
    return cache_folder() / "lines" / hashlib.sha256(uri.encode()).hexdigest()[:32]


def _read_places(kept: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """(stamp, spans int64[N, 2]) as they are kept; None where they are not, or not whole."""
    header = np.fromfile(kept, np.int64, HEADER) if kept.exists() else np.empty(0, np.int64)
    if len(header) < HEADER or kept.stat().st_size != 8 * HEADER + 16 * int(header[-1]):
        return None
    count = int(header[-1])
    spans = np.memmap(kept, np.int64, "r", 8 * HEADER, (count, 2)) if count else np.empty((0, 2), np.int64)
    return header[:-1], spans


def _remove_left(kept: Path) -> None:
    """Removes what processes left that were killed while they wrote places."""
    for left in kept.parent.glob(f".{kept.name}.*"):
        if left.stat().st_mtime < time.time() - DAY:
            left.unlink(missing_ok=True)


def _stamp(uri: str) -> np.ndarray:
    """What changes with a file: int64[3]."""
    fs, path = file_system(uri)
    try:
        info: dict[str, Any] = fs.info(path)
    except FileNotFoundError:
        raise RequestError(f"{uri} is not there; check the path") from None
    if info["type"] != "file":
        raise RequestError(f"{uri} is a folder; name a file of conversations, JSON lines or a list")
    changed = str([info.get(key) for key in ("mtime", "ETag", "LastModified", "last_modified")])
    digest = int.from_bytes(hashlib.sha256(changed.encode()).digest()[:8], "little", signed=True)
    return np.array([VERSION, int(info["size"]), digest], np.int64)


def _blocks(handle: BinaryIO, uri: str) -> Iterator[Block]:
    """The entries of a file, a block for each piece that is read."""
    first = handle.read(CHUNK)
    if kind := next((kind for magic, kind in COMPRESSED.items() if first.startswith(magic)), None):
        raise RequestError(f"{uri} is compressed with {kind}, so that no entry can be read by its place; unpack it")
    mark = 3 if first.startswith(b"\xef\xbb\xbf") else 0  # a byte order mark
    if first[mark:].lstrip()[:1] == b"[":
        return _list_blocks(handle, first, mark, uri)
    return _line_blocks(handle, first, mark, uri)


def _line_blocks(handle: BinaryIO, first: bytes, start: int, uri: str) -> Iterator[Block]:
    """The lines of a file, without those that are empty."""
    place, data = start, first[start:]
    while data:
        chunk = handle.read(CHUNK)
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
        if not chunk:  # the last line may have no end
            ends = np.append(ends, len(data))
        starts = np.append(0, ends[:-1] + 1) if len(ends) else ends
        short = np.flatnonzero(ends - starts < 8).tolist()
        empty = [i for i in short if not data[starts[i] : ends[i]].strip()]
        yield Block(data, np.delete(np.stack([starts, ends], axis=1).astype(np.int64), empty, axis=0), place)
        used = int(ends[-1]) + 1 if len(ends) else 0
        if len(data) - used > LARGEST:
            raise RequestError(
                f"{uri}: at byte {place + used:,} a line does not end within {LARGEST:,} bytes; give JSON lines, or one list"
            )
        place, data = place + used, data[used:] + chunk


def _list_blocks(handle: BinaryIO, first: bytes, start: int, uri: str) -> Iterator[Block]:
    """The entries of a JSON list. As Latin-1 a character is a byte, and what is outside of strings is ASCII in any case."""
    text, place = first.decode("latin-1"), text_start(first, start)
    before, decoder = 0, json.JSONDecoder(strict=False)  # bytes of the file before `text`
    spans: list[tuple[int, int]] = []
    while True:
        found = SPACE.match(text, place)
        place = found.end() if found else place
        if text[place : place + 1] == "]":
            _require_end(handle, text[place + 1 :], before + place + 1, uri)
            break
        try:
            end = decoder.raw_decode(text, place)[1] if place < len(text) else -1
        except (ValueError, RecursionError):
            end = -1
        if end < 0 or end == len(text):  # it may go on behind what was read
            chunk = handle.read(CHUNK)
            if not chunk or len(text) - place > LARGEST:
                raise RequestError(
                    f"{uri} is no JSON list: at byte {before + place:,} an entry is broken, or the list has no end"
                )
            yield _list_block(text, spans, before)
            before, text, place, spans = before + place, text[place:] + chunk.decode("latin-1"), 0, []
            continue
        spans.append((place, end))
        place = end
    yield _list_block(text, spans, before)


def _list_block(text: str, spans: list[tuple[int, int]], before: int) -> Block:
    return Block(text.encode("latin-1"), np.array(spans, np.int64).reshape(-1, 2), before)


def _require_end(handle: BinaryIO, rest: str, place: int, uri: str) -> None:
    """RequestError when something comes after a list, as another list: it would be lost."""
    while rest or (rest := handle.read(CHUNK).decode("latin-1")):
        if rest.strip():
            place += len(rest) - len(rest.lstrip())
            raise RequestError(f"{uri} goes on at byte {place:,}, behind the list; give one list, or JSON lines")
        place, rest = place + len(rest), ""


def text_start(first: bytes, start: int) -> int:
    """The place behind the bracket that opens a list."""
    return first.index(b"[", start) + 1
