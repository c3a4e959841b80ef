"""The one error a person causes: a request that cannot be carried out as it stands."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RequestError(Exception):
    """The request is wrong; the message says what, where, and how to fix it, in one line. Jobs end with exit status 2."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause naming the known name that `name` was meant to be, or listing all when nothing is near."""
    known = sorted(set(known))
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
