"""The one error a person causes: a request that cannot be carried out as it stands."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class RequestError(Exception):
    """The request is wrong; the message says what, where, and how to fix it, in one line. Jobs end with exit status 2."""


def require_least(options: Any, **least: int) -> None:
    """RequestError when a number of a command line, as argparse has it, is less than it may be; None is any number."""
    for name, smallest in least.items():
        value = getattr(options, name)
        if value is not None and value < smallest:
            raise RequestError(f"--{name.replace('_', '-')} {value} is less than {smallest}; raise it")


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause naming the known name that `name` was meant to be, or listing all when nothing is near."""
    known = sorted(set(known))
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
