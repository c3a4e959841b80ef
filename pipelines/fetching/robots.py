"""robots.txt of each origin: asked for once, remembered for a day, obeyed as RFC 9309 says.

A file that is not there (4xx) allows everything. One that cannot be had (5xx, no connection) allows nothing: its URLs end in the
class in which the file did, so that they may be asked for again later.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from protego import Protego

REMEMBERED, REMEMBERED_FAILURE = 24 * 3600.0, 60.0  # seconds
ORIGINS = 100_000
MAX_BYTES = 500 << 10  # what RFC 9309 asks a crawler to read at least
MAX_DELAY = 30.0

DISALLOWED = "robots"


@dataclass(frozen=True)
class Rules:
    """What an origin says: `error` is the class of the failure where it said nothing; `parsed` is None where all is allowed."""

    expires: float
    parsed: Protego | None = None
    error: str | None = None


# Of this process: chunks of a part, and parts of a worker, ask the same hosts.
_KNOWN: OrderedDict[str, Rules] = OrderedDict()


class Robots:
    """Asks for robots.txt by `ask`, which maps a URL to (error class or None, status, body)."""

    def __init__(self, ask: Callable[[str], Awaitable[tuple[str | None, int | None, bytes]]], agent: str) -> None:
        self.ask, self.agent = ask, agent
        self.asking: dict[str, asyncio.Task[Rules]] = {}

    async def verdict(self, url: str) -> tuple[str | None, float]:
        """(None or the error class that forbids the URL, seconds the origin wants between two requests)."""
        rules = await self._rules(_origin(url))
        if rules.error or rules.parsed is None:
            return rules.error, 0.0
        delay = rules.parsed.crawl_delay(self.agent) or 0.0
        return None if rules.parsed.can_fetch(url, self.agent) else DISALLOWED, min(float(delay), MAX_DELAY)

    async def _rules(self, origin: str) -> Rules:
        known = _KNOWN.get(origin)
        if known is not None and time.monotonic() < known.expires:
            return known
        if origin not in self.asking:
            self.asking[origin] = asyncio.create_task(self._fetch(origin))
        try:
            # Whoever waits for the same file must not be able to cancel it for the others.
            return await asyncio.shield(self.asking[origin])
        finally:
            if origin in self.asking and self.asking[origin].done():
                del self.asking[origin]

    async def _fetch(self, origin: str) -> Rules:
        error, status, body = await self.ask(f"{origin}/robots.txt")
        if error is None:
            rules = Rules(time.monotonic() + REMEMBERED, Protego.parse(body[:MAX_BYTES].decode("utf-8", "replace")))
        elif error in ("empty", "redirect_limit", "too_large") or (status is not None and 400 <= status < 500 and status != 429):
            rules = Rules(time.monotonic() + REMEMBERED)
        else:
            rules = Rules(time.monotonic() + REMEMBERED_FAILURE, error=error)
        _KNOWN[origin] = rules
        _KNOWN.move_to_end(origin)
        while len(_KNOWN) > ORIGINS:
            _KNOWN.popitem(last=False)
        return rules


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
