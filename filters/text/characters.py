"""Captions as one array of characters and their classes: counting over it needs no loop over captions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.text.one_entry_cache import cache_last_call
from infra.compat.content import State

ROWS = 1 << 12  # captions in a batch: their characters fit in the processor's cache
CODES = 0x110000
UNASSIGNED, PRIVATE = range(0x40000, 0xE0000), range(0xF0000, CODES)  # planes of Unicode with one kind of character

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]  # what `codes_of` gives for M captions → [M]
_measures = State[Measure, int]()  # each with its index among the results


def runs(captions: pa.ChunkedArray, rows: int = ROWS) -> Iterator[pa.StringArray]:
    """The captions (none NULL) in slices of at most so many."""
    for chunk in captions.chunks:
        for start in range(0, len(chunk), rows):
            yield chunk.slice(start, rows)


def codes_of(captions: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """All characters of N captions, one after the other, as code points, and where each caption begins in them: [C] and [N + 1].

    The code points are uint8 where all are ASCII, else uint32.
    """
    _, offsets, data = captions.buffers()
    ends = np.frombuffer(offsets, np.int32)[captions.offset : captions.offset + len(captions) + 1]
    text = data[ends[0] : ends[-1]].to_pybytes() if data is not None else b""
    ends = ends - ends[0]
    codes = np.frombuffer(text, np.uint8)
    if text.isascii():
        return codes, ends
    characters = np.concatenate([np.zeros(1, np.int32), np.cumsum((codes & 0xC0) != 0x80, dtype=np.int32)])
    return np.frombuffer(text.decode().encode("utf-32-le"), np.uint32), characters[ends]


@lru_cache(8)
def classes(patterns: tuple[str, ...]) -> np.ndarray:
    """uint8[0x110000]: for each code point 1 + the first of the RE2 patterns that it matches, 0 for none."""
    # Of each block the first character stands for all.
    ranges = (0, 0xD800), (0xE000, UNASSIGNED.start + 1), (UNASSIGNED.stop, PRIVATE.start + 1)
    kinds = np.zeros(CODES, np.uint8)
    for start, stop in ranges:
        # Some at a time: Arrow would keep what strings and matches of all of them take.
        for first in range(start, stop, ROWS):
            codes = np.arange(first, min(first + ROWS, stop))
            characters = _strings(codes)
            for number in range(len(patterns), 0, -1):
                matching = pc.match_substring_regex(characters, patterns[number - 1])
                kinds[codes[matching.to_numpy(zero_copy_only=False)]] = number
    for block in (UNASSIGNED, PRIVATE):
        if kinds[block.start]:  # memory that is never written takes none
            kinds[block.start : block.stop] = kinds[block.start]
    return kinds


def _strings(codes: np.ndarray) -> pa.StringArray:
    """A string of each code point (int[N]): as one text, of which no Python object is made for each character."""
    text = codes.astype("<u4").tobytes().decode("utf-32-le").encode()
    lengths = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)
    ends = np.concatenate([np.zeros(1, np.int32), np.cumsum(lengths, dtype=np.int32)])
    return pa.StringArray.from_buffers(len(codes), pa.py_buffer(ends), pa.py_buffer(text))


def kinds_of(codes: np.ndarray, patterns: tuple[str, ...]) -> np.ndarray:
    """For each character (uint8 or uint32[C]) 1 + the first of the RE2 patterns that it matches, 0 for none: uint8[C]."""
    if codes.dtype != np.uint8:
        return classes(patterns).take(codes)
    kinds, even = np.empty(len(codes), np.uint8), len(codes) & ~1
    kinds[:even] = _pairs(patterns).take(codes[:even].view(np.uint16)).view(np.uint8)  # two characters at a time
    kinds[even:] = classes(patterns).take(codes[even:])
    return kinds


@lru_cache(8)
def _pairs(patterns: tuple[str, ...]) -> np.ndarray:
    """For each pair of one-byte characters, read as a uint16, the classes of both: uint16[65536]."""
    kinds = classes(patterns)[:256].astype(np.uint16)
    return (kinds[:, None] << 8 | kinds).ravel()


def count_true(flags: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many of the flags of each caption's characters are true: bool[C], [N + 1] → int32[N].

    Bits are packed first: a running total of bytes' bit counts is an eighth of the work of one of flags.
    """
    bits = np.append(np.packbits(flags), np.uint8(0))
    totals = np.zeros(len(bits), np.int32)
    np.cumsum(np.bitwise_count(bits[:-1]), dtype=np.int32, out=totals[1:])
    whole, rest = ends >> 3, (ends & 7).astype(np.uint8)
    return np.diff(totals[whole] + np.bitwise_count(bits[whole] >> (np.uint8(8) - rest)).astype(np.int32))


def rows_at(positions: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The caption to which each position among all characters belongs: int[P] → int[P]."""
    return np.searchsorted(ends, positions, side="right") - 1


def of_characters(measure: Measure) -> Callable[[pa.ChunkedArray], np.ndarray]:
    """A measure of M captions' characters as one of captions: string[N], none NULL → [N].

    The first of these measures to be called on captions computes all of them, in one pass over the characters.
    """

    def column_measure(captions: pa.ChunkedArray) -> np.ndarray:
        index = _measures.setdefault(measure, len(_measures))  # not yet there in a worker that got the rule by pickle
        return _all_measures(captions, len(_measures))[index]

    _measures[measure] = len(_measures)
    return column_measure


@cache_last_call
def _all_measures(captions: pa.ChunkedArray, count: int) -> list[np.ndarray]:
    """The results of all `count` measures, which the cache tells apart by their number: each [N]."""
    batches = [*runs(captions)] or [pa.array([], pa.string())]
    results = [[measure(codes, ends) for measure in _measures] for codes, ends in map(codes_of, batches)]
    return [np.concatenate(pieces) for pieces in zip(*results, strict=True)]
