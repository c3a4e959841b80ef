"""Whether bytes hold a run of text: 192 or more of tab, line feed, carriage return and what ASCII prints."""

from __future__ import annotations

import re

try:
    import _pairmill_text_run as compiled
except ImportError:  # installed where there is no C compiler
    compiled = None

LEAST = 192
TEXT = re.compile(rb"[\t\n\r -~]{%d}" % LEAST)


def has_text(data: bytes, start: int, end: int) -> bool:
    """Whether the bytes from `start` (0 or more) up to `end` hold such a run."""
    if compiled is None:
        return TEXT.search(data, start, end) is not None
    found: bool = compiled.has_run(data, start, min(end, len(data)), LEAST)
    return found
