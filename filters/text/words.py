"""The words of captions in any script: runs of letters or digits; in scripts without spaces each character is one.

They are counted, or found with a key each, so that equal words of a caption are counted without a loop over captions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from filters.text.characters import codes_of, count_true, kinds_of, runs

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Khmer}\p{Lao}\p{Myanmar}"
WITHIN = rf"[^\s\pP\pS{UNSPACED}]"
ALONE = rf"[{UNSPACED}]"

# Masks of the first 0 … 4 bytes of a little-endian number.
FIRST_BYTES = np.array([(1 << 8 * count) - 1 for count in range(5)], np.uint64)


@dataclass(frozen=True)
class Words:
    """The W words of M captions in order, those of scripts without spaces left out.

    first   the position of the first character of each among all characters: int64[W]
    length  characters: int64[W]
    keys    equal where words are equal, whatever the case of their ASCII letters: uint64[W]
    """

    first: np.ndarray
    length: np.ndarray
    keys: np.ndarray


def count_words(captions: pa.ChunkedArray) -> pa.Array:
    """Words of each caption (none NULL): int32[N]. As many as RE2 finds matches of `ALONE|WITHIN+`, many times faster."""
    return pa.array(np.concatenate([np.zeros(0, np.int32), *map(_count, runs(captions))]), pa.int32())


def words_of(codes: np.ndarray, ends: np.ndarray) -> Words:
    """The words of captions given by their characters, as `codes_of` gives them."""
    within = kinds_of(codes, (WITHIN, ALONE)) == 1
    begins = _starts(within, ends)
    finishes = within.copy()
    finishes[:-1] &= ~within[1:] | begins[1:]
    first, last = np.flatnonzero(begins), np.flatnonzero(finishes) + 1
    return Words(first, last - first, _keys(codes, first, last))


def keys_of(words: list[str]) -> np.ndarray:
    """The keys of single words, in the order of the words: uint64[len(words)]."""
    return words_of(*codes_of(pa.array(words, pa.string()))).keys


def _keys(codes: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Length, first four and last four characters in one number: words that differ hardly ever agree in all three."""
    if not len(first):
        return np.zeros(0, np.uint64)
    folded = np.zeros(len(codes) + 3, np.uint8)
    folded[: len(codes)] = codes.astype(np.uint8) | 32
    fours = np.ndarray(len(codes), "<u4", folded, strides=(1,))  # the four bytes from each character on
    length = last - first
    head = fours.take(first).astype(np.uint64) & FIRST_BYTES.take(np.minimum(length, 4))
    tail = fours.take(np.maximum(last - 4, first)).astype(np.uint64) * (length > 4)
    return np.asarray(head ^ tail << np.uint64(32) ^ length.astype(np.uint64) << np.uint64(27))


def _count(captions: pa.StringArray) -> np.ndarray:
    codes, ends = codes_of(captions)
    kinds = kinds_of(codes, (WITHIN, ALONE))
    return count_true(_starts(kinds == 1, ends) | (kinds == 2), ends)


def _starts(within: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Whether a run begins at each character; a caption's first letter begins one, whatever the caption before it ends with."""
    starts = within.copy()
    starts[1:] &= ~within[:-1]
    first = ends[:-1][ends[:-1] < len(within)]
    starts[first] = within[first]
    return starts
