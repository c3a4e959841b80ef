"""Captions as one run of characters, each of a class: what counting over millions of captions starts from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ROWS = 1 << 14  # as many captions as a cache holds
CODES = 0x110000


def runs(captions: pa.ChunkedArray) -> Iterator[pa.StringArray]:
    """The captions (none NULL) in slices of a size that a cache holds."""
    for chunk in captions.chunks:
        for start in range(0, len(chunk), ROWS):
            yield chunk.slice(start, ROWS)


def codes_of(captions: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """All characters of N captions, one after the other, as code points: uint8 or uint32[C]; and where each begins: [N + 1]."""
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
    codes = np.concatenate([np.arange(0xD800), np.arange(0xE000, CODES)])
    characters = pa.array([*map(chr, codes.tolist())])
    kinds = np.zeros(CODES, np.uint8)
    for number in range(len(patterns), 0, -1):
        found = pc.match_substring_regex(characters, patterns[number - 1])
        kinds[codes[found.to_numpy(zero_copy_only=False)]] = number
    return kinds
