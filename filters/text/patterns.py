r"""RE2 patterns over captions, each asked only of those that hold a literal without which it cannot match.

`click (?:here|to enlarge)` is found nowhere but where "click here" or "click to enlarge" stands. One Aho-Corasick search for
the literals of all patterns says which captions each has to be asked of: of most captions, none. RE2 does the same for a set of
patterns (its FilteredRE2), which Arrow does not offer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.text.characters import runs
from filters.text.one_entry_cache import cache_last_call
from infra.compat.content import State

WORD, NO_WORD = r"\pL\pM\pN_", r"\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Po}\pS\pZ\pC"
COMMON = frozenset("0123456789abcdefghijklmnopqrstuvwxyz ,.-'")
NO_ROWS = np.zeros(0, np.int64)
MANY = 128  # literals: what asks for more is not spelled out

Literals = frozenset[str]
_known = State[str, None]()  # every pattern that was prepared, in order


def prepare(patterns: Iterable[str], *, ignore_case: bool = False) -> tuple[str, ...]:
    """RE2 patterns as `found_any` takes them, spelled out."""
    made = spelled_out(patterns, ignore_case=ignore_case)
    _known.update(dict.fromkeys(made))
    return made


def spelled_out(patterns: Iterable[str], *, ignore_case: bool = False) -> tuple[str, ...]:
    r"""RE2 patterns whose \w and \W are of every script, unlike RE2's own."""
    return tuple(("(?i)" if ignore_case else "") + of_every_script(pattern) for pattern in patterns)


def found_any(captions: pa.ChunkedArray, patterns: Collection[str]) -> np.ndarray:
    """Whether one of the prepared patterns is found in each caption (string[N], none NULL): bool[N]."""
    _known.update(dict.fromkeys(patterns))  # a rule that came to a worker by pickle was prepared in another process
    found = np.zeros(len(captions), bool)
    for pattern in patterns:
        found[_rows(captions, pattern)] = True
    return found


def found_within(captions: pa.ChunkedArray, patterns: Iterable[str], where: np.ndarray) -> np.ndarray:
    """As `found_any`, of patterns that need no preparation, asked only of the captions where bool[N] is true."""
    rows = np.flatnonzero(where)
    some = captions.take(pa.array(rows))
    found = np.zeros(len(captions), bool)
    for pattern in patterns:
        found[rows] |= pc.match_substring_regex(some, pattern).to_numpy()
    return found


def _rows(captions: pa.ChunkedArray, pattern: str) -> np.ndarray:
    """The captions in which a pattern is found: int64[M]."""
    # One pattern at a time: RE2 is fast while its states fit its cache, and those of joined patterns do not.
    asked = _search(captions, len(_known))
    if pattern not in asked.found:
        rows = asked.rows.get(pattern, NO_ROWS)
        if pattern in asked.everywhere:
            asked.found[pattern] = np.flatnonzero(pc.match_substring_regex(captions, pattern).to_numpy())
        elif len(rows):
            asked.found[pattern] = rows[pc.match_substring_regex(captions.take(pa.array(rows)), pattern).to_numpy()]
        else:
            asked.found[pattern] = NO_ROWS
    return asked.found[pattern]


@dataclass(frozen=True)
class _Candidates:
    """Of which captions each pattern has to be asked: of those in `rows` (int64, once each), or of all; and what was found."""

    rows: dict[str, np.ndarray]
    everywhere: frozenset[str]
    found: dict[str, np.ndarray]


@dataclass(frozen=True)
class _Index:
    """An automaton for all literals, and what it finds: the patterns that need the literal of each number."""

    automaton: Any
    needed_by: list[list[str]]
    everywhere: frozenset[str]


@cache_last_call
def _search(captions: pa.ChunkedArray, count: int) -> _Candidates:
    """The candidates of the first `count` patterns that were prepared: all there are."""
    index = _index(count)
    return _Candidates(_candidates(captions, index), index.everywhere, {})


def _candidates(captions: pa.ChunkedArray, index: _Index) -> dict[str, np.ndarray]:
    found: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    first = 0
    for some in runs(captions):
        for literal, rows in _hits(some, index.automaton):
            for pattern in index.needed_by[literal]:
                found[pattern].append(rows + first)
        first += len(some)
    return {pattern: np.unique(np.concatenate(rows)) for pattern, rows in found.items()}


def _hits(captions: pa.StringArray, automaton: Any) -> Iterable[tuple[int, np.ndarray]]:
    """(number of a literal, rows of the captions that hold it) of each literal that is found."""
    lower = pc.utf8_lower(captions)
    _, offsets, data = lower.buffers()
    if data is None:
        return
    ends = np.frombuffer(offsets, np.int32)[lower.offset : lower.offset + len(lower) + 1]
    hits = automaton.find_matches_as_indexes(data[ends[0] : ends[-1]].to_pybytes(), overlapping=True)
    if not hits:
        return
    found = np.fromiter(chain.from_iterable(hits), np.int64, 3 * len(hits))
    literals, starts = found[::3], found[1::3]
    order = np.argsort(literals, kind="stable")
    rows = np.searchsorted(ends - ends[0], starts[order], side="right") - 1
    numbers, begins = np.unique(literals[order], return_index=True)
    yield from zip(numbers.tolist(), np.split(rows, begins[1:]), strict=True)


@lru_cache(1)
def _index(count: int) -> _Index:
    """The index of the first `count` patterns that were prepared: all there are."""
    from ahocorasick_rs import BytesAhoCorasick

    by_literal: defaultdict[str, list[str]] = defaultdict(list)
    everywhere = []
    for pattern in _known:
        needed = literals(pattern)
        if needed is None or not all(map(_is_rare, needed)):
            everywhere.append(pattern)
            continue
        for literal in needed:
            by_literal[literal].append(pattern)
    return _Index(BytesAhoCorasick([text.encode() for text in by_literal]), list(by_literal.values()), frozenset(everywhere))


def _is_rare(literal: str) -> bool:
    """Is a literal worth a search? Three letters are, and any that is not of English, or a symbol."""
    return len(literal) >= 3 or not COMMON.issuperset(literal)


def _rarity(literal: str) -> int:
    """More where fewer captions hold it: a letter counts its bytes, a symbol four."""
    return sum(1 if letter in COMMON else len(letter.encode()) if letter.isalnum() else 4 for letter in literal)


def literals(pattern: str) -> Literals | None:
    """Strings in lower case of which every caption, in lower case, holds one in which the RE2 pattern is found; None: any may.

    RE2 takes the long ſ for an s where case does not matter; a caption is not asked for it.
    """
    node = _read(parser.parse(_as_python(pattern)))
    needed = _best([node.exact, node.needed])
    if needed is None:
        return None
    return frozenset(text for text in needed if not any(other != text and other in text for other in needed))


def _as_python(pattern: str) -> str:
    """The pattern as Python parses it; classes of characters become one that stands for anything, and case is left to us."""
    pattern = re.sub(r"\\x\{([0-9A-Fa-f]+)\}", lambda found: f"\\U{int(found[1], 16):08X}", pattern)
    return re.sub(r"\\[pP](?:\{\w+\}|\w)", r"\\w", pattern).replace("(?i)", "")


@dataclass(frozen=True)
class _Node:
    """Of a part of a pattern: all strings it can be, where they are few; and strings of which it holds one."""

    exact: Literals | None
    needed: Literals | None = None


ANYTHING, NOTHING = _Node(None), _Node(frozenset({""}))


def _read(parsed: Any) -> _Node:
    """A sequence: it needs the best of what its parts need, and of its runs of exact parts."""
    run, found, exact = NOTHING.exact, list[Literals | None](), True
    for kind, about in parsed:
        node = _read_one(kind, about)
        found.append(node.needed)
        joined = _joined(run, node.exact)
        if joined is None:
            found += [run, node.exact]
            exact = False
        run = joined if joined is not None else node.exact or NOTHING.exact
    return _Node(run, _best(found)) if exact else _Node(None, _best([*found, run]))


def _read_one(kind: Any, about: Any) -> _Node:
    if kind is kinds.LITERAL:
        return _Node(frozenset({chr(about).lower()}))
    if kind is kinds.AT:
        return NOTHING
    if kind is kinds.IN:
        return _one_of(about)
    if kind is kinds.SUBPATTERN:
        return _read(about[-1])
    if kind is kinds.BRANCH:
        return _either([_read(branch) for branch in about[1]])
    if kind in (kinds.MAX_REPEAT, kinds.MIN_REPEAT):
        return _repeated(*about)
    return ANYTHING


def _one_of(members: Any) -> _Node:
    letters: set[str] = set()
    for kind, about in members:
        if kind is kinds.LITERAL:
            letters.add(chr(about).lower())
        elif kind is kinds.RANGE and about[1] - about[0] < MANY:
            letters.update(chr(code).lower() for code in range(about[0], about[1] + 1))
        else:
            return ANYTHING
    return _Node(frozenset(letters))


def _either(branches: Sequence[_Node]) -> _Node:
    exact = [branch.exact for branch in branches]
    needed = [_best([branch.exact, branch.needed]) for branch in branches]
    all_exact = None if None in exact else frozenset[str]().union(*filter(None, exact))
    all_needed = None if None in needed else frozenset[str]().union(*filter(None, needed))
    return _Node(all_exact if all_exact is not None and len(all_exact) <= MANY else None, all_needed)


def _repeated(least: int, most: int, body: Any) -> _Node:
    node = _read(body)
    if least == 0:
        return _Node(NOTHING.exact | node.exact) if most == 1 and node.exact and NOTHING.exact else ANYTHING
    times = NOTHING.exact
    for _ in range(min(least, MANY)):
        times = _joined(times, node.exact)
    return _Node(times if least == most else None, _best([times, node.exact, node.needed]))


def _joined(before: Literals | None, after: Literals | None) -> Literals | None:
    """Each string of the one before each of the other, unless they are many."""
    if before is None or after is None or len(before) * len(after) > MANY:
        return None
    return frozenset(one + other for one in before for other in after)


def _best(choices: Iterable[Literals | None]) -> Literals | None:
    """The literals that are rarest: by the shortest of each choice, and the fewest."""
    able = [choice for choice in choices if choice and "" not in choice]
    return max(able, key=lambda choice: (min(map(_rarity, choice)), -len(choice)), default=None)


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
