"""Captions as one array of tokens: words, numbers, marks, and single characters of scripts without spaces.

The trick: nothing loops over captions. Characters have classes, a token begins where the class changes, and the key of a word is
a polynomial over its letters, the difference of two running sums, so that equal words have equal keys wherever they stand.
`_tokens.c` does the same in one pass, four times as fast, where it was compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from filters.text.characters import CODES, classes, codes_of
from filters.text.words import UNSPACED

try:
    import _pairmill_tokens as compiled
except ImportError:  # installed where there is no C compiler
    compiled = None

SPACE, LOWER, UPPER, DIGIT, ALONE, MARK = range(6)
_PATTERNS = (rf"[{UNSPACED}ー々〆]", r"\p{Lu}", r"[\pL\pM]", r"\pN", r"[\s\pZ\p{Cc}\p{Cf}]")
_KIND_OF = np.array([MARK, ALONE, UPPER, LOWER, DIGIT, SPACE], np.uint8)  # of a character that the n-th pattern matches
_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))
_MIXER = np.uint64(0xBF58476D1CE4E5B9)
APOSTROPHES = (ord("'"), 0x2019)


@dataclass(frozen=True)
class Tokens:
    """The T tokens of N captions, in order.

    rows      the caption of each: int64[T]
    first     where each caption's tokens begin: int64[N + 1]
    start     its first character among all: int64[T]; `length` its characters
    kind      of its first character: SPACE never, LOWER or UPPER a word, DIGIT a number, ALONE, MARK: uint8[T]
    keys      equal for equal words whatever their case: uint64[T]
    capitals  how many of its characters are capitals, `digits` how many are digits: int32[T]
    after_space  whether a space stands before it, or it is the first: bool[T]
    """

    rows: np.ndarray
    first: np.ndarray
    start: np.ndarray
    length: np.ndarray
    kind: np.ndarray
    keys: np.ndarray
    capitals: np.ndarray
    digits: np.ndarray
    after_space: np.ndarray


def tokens_of(codes: np.ndarray, ends: np.ndarray) -> Tokens:
    """The tokens of N captions, given by their characters as `codes_of` gives them."""
    if compiled is None:
        return tokens_by_numpy(codes, ends)
    first = np.empty(len(ends), np.int64)
    rows, start, length = (np.empty(len(codes), np.int64) for _ in range(3))
    keys, capitals, digits = np.empty(len(codes), np.uint64), np.empty(len(codes), np.int32), np.empty(len(codes), np.int32)
    kind, after_space = np.empty(len(codes), np.uint8), np.empty(len(codes), bool)
    columns = (rows, first, start, length, kind, keys, capitals, digits, after_space)
    count = compiled.tokens(codes, codes.itemsize, ends, _kinds(), _to_lower(), *columns)
    return Tokens(rows[:count], first, *(column[:count] for column in columns[2:]))


def tokens_by_numpy(codes: np.ndarray, ends: np.ndarray) -> Tokens:
    """The same as `tokens_of`, in NumPy."""
    kinds = _kinds().take(codes)
    count = len(codes)
    opens = np.zeros(count, bool)  # a caption
    opens[ends[:-1][ends[:-1] < count]] = True
    word = (kinds >= LOWER) & (kinds <= DIGIT)
    inner = np.flatnonzero((codes == APOSTROPHES[0]) | (codes == APOSTROPHES[1]))
    inner = inner[(inner > 0) & (inner < count - 1)]
    inner = inner[word[inner - 1] & word[inner + 1] & ~opens[inner] & ~opens[inner + 1]]  # it's, l'été
    group = kinds.copy()
    group[word] = LOWER
    group[inner] = LOWER
    begins = opens.copy()
    begins[1:] |= (group[1:] != group[:-1]) | (group[1:] == ALONE) | ((group[1:] == MARK) & (codes[1:] != codes[:-1]))
    edges = np.flatnonzero(begins)
    length = np.diff(np.append(edges, count))
    seen = group[edges] != SPACE
    after_space = opens[edges]
    after_space[1:] |= ~seen[:-1]
    start, length = edges[seen], length[seen]
    first = np.searchsorted(start, ends)
    rows = np.repeat(np.arange(len(ends) - 1), np.diff(first))
    return Tokens(
        rows,
        first,
        start,
        length,
        kinds[start],
        _keys(codes, start, start + length),
        _sums(kinds == UPPER, start, length),
        _sums(kinds == DIGIT, start, length),
        after_space[seen],
    )


def repetitions(tokens: Tokens, of: np.ndarray) -> np.ndarray:
    """How many of the tokens of each caption that `of` (bool[T]) names are repetitions of an earlier one: int64[N]."""
    rows = tokens.rows[of]
    # A token is told by its caption and 40 bits of its key.
    mixed = np.sort(rows.astype(np.uint64) << np.uint64(40) | tokens.keys[of] & np.uint64((1 << 40) - 1))
    again = mixed[1:][mixed[1:] == mixed[:-1]] >> np.uint64(40)
    return np.bincount(again.astype(np.int64), minlength=len(tokens.first) - 1)


def keys_of(words: list[str]) -> np.ndarray:
    """The keys that these words have in a caption: uint64[len(words)]."""
    codes, ends = codes_of(pa.array(words, pa.string()))
    return _keys(codes, ends[:-1].astype(np.int64), ends[1:].astype(np.int64))


def _keys(codes: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    powers, inverses = _powers(1 << int(len(codes) + 1).bit_length())
    sums = np.zeros(len(codes) + 1, np.uint64)
    lower = (codes.astype(np.int64) + _to_lower().take(codes)).astype(np.uint64)
    np.cumsum((lower + np.uint64(1)) * (lower + np.uint64(0x632BE5)) * powers[: len(codes)], out=sums[1:])
    mixed = (sums[end] - sums[start]) * inverses[start]
    # Mixed as in SplitMix64, so that all bits of a key tell words apart.
    mixed = (mixed ^ mixed >> np.uint64(29)) * _MIXER
    return np.asarray(mixed ^ mixed >> np.uint64(32))


@lru_cache(2)
def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    bases = (np.full(count, base, np.uint64) for base in (_BASE, _INVERSE))
    powers, inverses = (np.concatenate([np.ones(1, np.uint64), np.cumprod(base)[:-1]]) for base in bases)
    return powers, inverses


@lru_cache(1)
def _kinds() -> np.ndarray:
    return np.asarray(_KIND_OF[classes(_PATTERNS)])


@lru_cache(1)
def _to_lower() -> np.ndarray:
    """What is to be added to each character for its lower-case form, where that is one character: int32[0x110000].

    Zeros take no memory until others stand beside them.
    """
    added = np.zeros(CODES, np.int32)
    for code in range(0x1E944):
        if not 0xD800 <= code < 0xE000 and len(small := chr(code).lower()) == 1 and ord(small) != code:
            added[code] = ord(small) - code
    added[APOSTROPHES[1]] = APOSTROPHES[0] - APOSTROPHES[1]
    return added


def _sums(flags: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    totals = np.zeros(len(flags) + 1, np.int32)
    np.cumsum(flags, dtype=np.int32, out=totals[1:])
    return np.asarray(totals[start + length] - totals[start])
