"""The literals that a pattern cannot match without, read off its syntax tree.

A caption that `cookies? (?:policy|use)` matches contains one of "cookie policy", "cookies policy", "cookie use", "cookies use".
Going up the tree, each node has the set of all strings that it can match, while they are few, and else the best set of strings
of which every match contains one: of a sequence that of its rarest part, of alternatives those of all together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

COMMON = frozenset("0123456789abcdefghijklmnopqrstuvwxyz ,.-'")
MOST = 128  # strings in a set

Literals = frozenset[str]


@dataclass(frozen=True)
class _Node:
    """Of a part of a pattern: all strings it can match, where they are few; and strings of which each match contains one."""

    exact: Literals | None
    needed: Literals | None = None


ANYTHING, NOTHING = _Node(None), _Node(frozenset({""}))


def literals(pattern: str) -> Literals | None:
    """Strings in lower case: each caption that the RE2 pattern matches contains one, in lower case. None: any caption may match.

    One exception: RE2 takes the long ſ for an s where case does not matter, and this does not.
    """
    node = _read(parser.parse(_as_python(pattern)))
    needed = _best([node.exact, node.needed])
    if needed is None:
        return None
    shortest = list[str]()
    for text in sorted(needed, key=len):
        if not any(other in text for other in shortest):
            shortest.append(text)
    return frozenset(shortest)


def _as_python(pattern: str) -> str:
    """The pattern in Python's syntax. Unicode classes become one that is read as anything; case is folded elsewhere."""
    pattern = re.sub(r"\\x\{([0-9A-Fa-f]+)\}", lambda match: f"\\U{int(match[1], 16):08X}", pattern)
    return re.sub(r"\\[pP](?:\{\w+\}|\w)", r"\\w", pattern).replace("(?i)", "")


def _read(parsed: Any) -> _Node:
    """A sequence: it needs the best of what its parts need, and of its runs of exact parts."""
    run, choices, exact = NOTHING.exact, list[Literals | None](), True
    for kind, argument in parsed:
        node = _read_one(kind, argument)
        choices.append(node.needed)
        joined = _joined(run, node.exact)
        if joined is None:
            choices += [run, node.exact]
            exact = False
        run = joined if joined is not None else node.exact or NOTHING.exact
    return _Node(run, _best(choices)) if exact else _Node(None, _best([*choices, run]))


def _read_one(kind: Any, argument: Any) -> _Node:
    if kind is kinds.LITERAL:
        return _Node(frozenset({chr(argument).lower()}))
    if kind is kinds.AT:
        return NOTHING
    if kind is kinds.IN:
        return _one_of(argument)
    if kind is kinds.SUBPATTERN:
        return _read(argument[-1])
    if kind is kinds.BRANCH:
        return _either([_read(branch) for branch in argument[1]])
    if kind in (kinds.MAX_REPEAT, kinds.MIN_REPEAT):
        return _repeated(*argument)
    return ANYTHING


def _one_of(members: Any) -> _Node:
    letters: set[str] = set()
    for kind, argument in members:
        if kind is kinds.LITERAL:
            letters.add(chr(argument).lower())
        elif kind is kinds.RANGE and argument[1] - argument[0] < MOST:
            letters.update(chr(code).lower() for code in range(argument[0], argument[1] + 1))
        else:
            return ANYTHING
    return _Node(frozenset(letters))


def _either(branches: Sequence[_Node]) -> _Node:
    exact = [branch.exact for branch in branches]
    needed = [_best([branch.exact, branch.needed]) for branch in branches]
    all_exact = None if None in exact else frozenset[str]().union(*filter(None, exact))
    all_needed = None if None in needed else frozenset[str]().union(*filter(None, needed))
    return _Node(all_exact if all_exact is not None and len(all_exact) <= MOST else None, all_needed)


def _repeated(least: int, most: int, body: Any) -> _Node:
    node = _read(body)
    if least == 0:
        return _Node(NOTHING.exact | node.exact) if most == 1 and node.exact and NOTHING.exact else ANYTHING
    times = NOTHING.exact
    for _ in range(min(least, MOST)):
        times = _joined(times, node.exact)
    return _Node(times if least == most else None, _best([times, node.exact, node.needed]))


def _joined(before: Literals | None, after: Literals | None) -> Literals | None:
    """Each string of one set followed by each of the other; None where that is more than MOST."""
    if before is None or after is None or len(before) * len(after) > MOST:
        return None
    return frozenset(left + right for left in before for right in after)


def _best(choices: Iterable[Literals | None]) -> Literals | None:
    """The set whose commonest string is the rarest; of equal ones the smallest."""
    usable = [choice for choice in choices if choice and "" not in choice]
    return max(usable, key=lambda choice: (min(map(_rarity, choice)), -len(choice)), default=None)


@lru_cache(1 << 16)
def _rarity(literal: str) -> int:
    """More where fewer captions contain it: a letter counts its bytes, a symbol four."""
    return sum(1 if letter in COMMON else len(letter.encode()) if letter.isalnum() else 4 for letter in literal)


def is_rare(literal: str) -> bool:
    """Whether few captions contain a literal: one of three letters, or with one that is not English, or a symbol."""
    return len(literal) >= 3 or not COMMON.issuperset(literal)
