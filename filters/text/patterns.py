"""Many RE2 patterns over many captions: each is tried only on captions that contain a literal it cannot match without.

Every match of `click (?:here|to enlarge)` contains "click here" or "click to enlarge" (`literals.py` finds such strings). One
Aho-Corasick search for the literals of all patterns at once gives, for each pattern, the few captions that it may match. Only
on these RE2 runs, one pattern at a time.

The simple way was not enough: every pattern on every caption costs (patterns × captions), though most captions contain no
literal at all; and one large alternation loses RE2's speed, which lasts while the states of its automaton fit in its cache.
RE2's own FilteredRE2 works in the same way; Arrow does not offer it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.text.characters import runs
from filters.text.literals import is_rare, literals
from filters.text.one_entry_cache import cache_last_call
from infra.compat.content import State

WORD, NO_WORD = r"\pL\pM\pN_", r"\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Po}\pS\pZ\pC"
NO_ROWS = np.zeros(0, np.int64)
ROWS = 1 << 12  # captions searched at once: each hit is a tuple of Python numbers

_prepared = State[str, None]()  # every pattern of this process, in order: all are searched for at once


def prepare(patterns: Iterable[str], *, ignore_case: bool = False) -> tuple[str, ...]:
    """RE2 patterns in the form that `match_any` takes; done when a module is imported, one search serves all patterns."""
    prepared = spelled_out(patterns, ignore_case=ignore_case)
    _prepared.update(dict.fromkeys(prepared))
    return prepared


def spelled_out(patterns: Iterable[str], *, ignore_case: bool = False) -> tuple[str, ...]:
    r"""RE2 patterns with \w and \W written as classes of every script, unlike RE2's own."""
    return tuple(("(?i)" if ignore_case else "") + of_every_script(pattern) for pattern in patterns)


def match_any(captions: pa.ChunkedArray, patterns: Collection[str]) -> np.ndarray:
    """Whether each caption (string[N], none NULL) matches one of the prepared patterns: bool[N]."""
    _prepared.update(dict.fromkeys(patterns))  # a rule that came to a worker by pickle was prepared in another process
    matching = np.zeros(len(captions), bool)
    for pattern in patterns:
        matching[_matching_rows(captions, pattern)] = True
    return matching


def match_within(captions: pa.ChunkedArray, patterns: Iterable[str], within: np.ndarray) -> np.ndarray:
    """As `match_any`, but only captions for which `within`, bool[N], is true are searched; patterns need no preparation."""
    rows = np.flatnonzero(within)
    searched = captions.take(pa.array(rows))
    matching = np.zeros(len(captions), bool)
    for pattern in patterns:
        matching[rows] |= pc.match_substring_regex(searched, pattern).to_numpy()
    return matching


def _matching_rows(captions: pa.ChunkedArray, pattern: str) -> np.ndarray:
    """The captions that match a prepared pattern: int64[M], once each."""
    search = _search(captions, len(_prepared))
    if pattern not in search.matching:
        rows = search.candidates.get(pattern, NO_ROWS)
        if pattern in search.unfiltered:
            matching = np.flatnonzero(pc.match_substring_regex(captions, pattern).to_numpy())
        else:
            matching = rows[pc.match_substring_regex(captions.take(pa.array(rows)), pattern).to_numpy()] if len(rows) else rows
        search.matching[pattern] = matching
    return search.matching[pattern]


@dataclass(frozen=True)
class _Search:
    """The patterns over one array of captions.

    candidates  pattern → the rows (int64, once each) that contain one of its literals
    unfiltered  patterns without rare literals: every row is a candidate
    matching    pattern → the rows that match it, of those patterns that were tried
    """

    candidates: dict[str, np.ndarray]
    unfiltered: frozenset[str]
    matching: dict[str, np.ndarray]


@dataclass(frozen=True)
class _Index:
    """An Aho-Corasick automaton of all literals; `patterns_of` lists, by the number of a literal, the patterns that need it."""

    automaton: Any
    patterns_of: list[list[str]]
    unfiltered: frozenset[str]


@cache_last_call
def _search(captions: pa.ChunkedArray, count: int) -> _Search:
    """The search of all `count` prepared patterns, which the cache tells apart by their number."""
    index = _index(count)
    return _Search(_candidates(captions, index), index.unfiltered, {})


def _candidates(captions: pa.ChunkedArray, index: _Index) -> dict[str, np.ndarray]:
    by_pattern: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    first = 0
    for batch in runs(captions, ROWS):
        for literal, rows in _rows_of_literals(batch, index.automaton):
            for pattern in index.patterns_of[literal]:
                by_pattern[pattern].append(rows + first)
        first += len(batch)
    return {pattern: np.unique(np.concatenate(rows)) for pattern, rows in by_pattern.items()}


def _rows_of_literals(captions: pa.StringArray, automaton: Any) -> Iterable[tuple[int, np.ndarray]]:
    """(number of a literal, rows of the captions that contain it) of each literal that occurs."""
    lower = pc.utf8_lower(captions)
    _, offsets, data = lower.buffers()
    if data is None:
        return
    ends = np.frombuffer(offsets, np.int32)[lower.offset : lower.offset + len(lower) + 1]
    # One search over the bytes of all captions; a literal that lies across two of them only makes a candidate more.
    hits = automaton.find_matches_as_indexes(data[ends[0] : ends[-1]].to_pybytes(), overlapping=True)
    if not hits:
        return
    flat = np.fromiter(chain.from_iterable(hits), np.int64, 3 * len(hits))  # literal, start, end of each
    numbers, starts = flat[::3], flat[1::3]
    order = np.argsort(numbers, kind="stable")
    rows = np.searchsorted(ends - ends[0], starts[order], side="right") - 1
    present, first = np.unique(numbers[order], return_index=True)
    yield from zip(present.tolist(), np.split(rows, first[1:]), strict=True)


@lru_cache(1)
def _index(count: int) -> _Index:
    """The index of all `count` prepared patterns."""
    from ahocorasick_rs import BytesAhoCorasick

    by_literal: defaultdict[str, list[str]] = defaultdict(list)
    unfiltered = []
    for pattern in _prepared:
        needed = literals(pattern)
        if needed is None or not all(map(is_rare, needed)):
            unfiltered.append(pattern)
            continue
        for literal in needed:
            by_literal[literal].append(pattern)
    return _Index(BytesAhoCorasick([text.encode() for text in by_literal]), list(by_literal.values()), frozenset(unfiltered))


def of_every_script(pattern: str) -> str:
    r"""An RE2 pattern whose \w and \W mean letters, marks and digits of every script; RE2's own know ASCII alone."""
    parts, within = [], False
    for part in re.findall(r"\\.|.", pattern, re.DOTALL):
        if part in (r"\w", r"\W") and within:
            parts.append(WORD if part == r"\w" else NO_WORD)
        else:
            parts.append({r"\w": f"[{WORD}]", r"\W": f"[^{WORD}]"}.get(part, part))
        within = part == "[" or (within and part != "]")
    return "".join(parts)
