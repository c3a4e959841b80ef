"""What a step of repair is, and whether a text that it cut is whole: it has words enough, and ends in none that another must follow."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from filters.text.function_words import OPENERS, OTHERS

UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
WORD = re.compile(rf"[{UNSPACED}]|[^\W\d_](?:[^\W{UNSPACED}]|['’])*")
# Of one Latin letter none: in another language it is an article or a name (vitamin a).
OPENING = frozenset(word for word in " ".join(OPENERS.values()).split() if len(word) > 1 or not word.isascii())
DANGLING = OPENING | frozenset(word for word in " ".join(OTHERS.values()).split() if len(word) > 1 or word == "a")
EDGE = " \t\n\r\xa0\u3000|-–—~•·:,;/&+*#(["


class Step(NamedTuple):
    """A repair: an RE2 pattern that every caption which `fix` may change matches, and the function from a text to its repair."""

    where: str
    fix: Callable[[str], str]


def count_words(text: str) -> int:
    """Words of a text that begin with a letter; in scripts without spaces each character is one."""
    return len(WORD.findall(text))


def trimmed(text: str) -> str:
    """A text that was cut, without separators at its end."""
    return text.rstrip(EDGE)


def dangles(text: str) -> bool:
    """Whether a text, already trimmed, ends in a small word that another must follow: of, the, und, sur, на …"""
    return text.rpartition(" ")[2] in DANGLING


def is_whole(text: str, least: int) -> bool:
    """Whether a text, already trimmed, can stand alone: of `least` words or more, none of them dangling at its end."""
    return count_words(text) >= least and not dangles(text)
