"""robots.txt of each origin: requested once, cached for a day, obeyed as RFC 9309 says.

A file that does not exist (4xx) allows everything. One that cannot be read (5xx, no connection) allows nothing: the URLs of its
origin end in the error class of the file, so that they can be retried later.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from protego import Protego

from pipelines.fetching.urls import origin_of

CACHE_SECONDS, FAILURE_CACHE_SECONDS = 24 * 3600.0, 60.0
MAX_ORIGINS = 100_000
MAX_BYTES = 500 << 10  # the least that RFC 9309 asks a crawler to read
MAX_DELAY = 30.0  # seconds

DISALLOWED = "robots"
# An HTTP client that maps a URL to (error class or None, status, body).
Get = Callable[[str], Awaitable[tuple[str | None, int | None, bytes]]]


@dataclass(frozen=True)
class Rules:
    """The rules of an origin: `error` is the class in which its file failed; `parsed` is None where everything is allowed."""

    expires: float
    parsed: Protego | None = None
    error: str | None = None


# One cache a process: chunks of a part, and parts of a worker, request the same hosts.
_CACHE: OrderedDict[str, Rules] = OrderedDict()


class Robots:
    """Answers whether `agent` may request a URL; the files are read through `get`."""

    def __init__(self, get: Get, agent: str) -> None:
        self.get, self.agent = get, agent
        self.in_flight: dict[str, asyncio.Task[Rules]] = {}

    async def check(self, url: str) -> tuple[str | None, float]:
        """(None or the error class that forbids the URL, seconds the origin wants between two requests)."""
        rules = await self._rules(origin_of(url))
        if rules.error or rules.parsed is None:
            return rules.error, 0.0
        delay = rules.parsed.crawl_delay(self.agent) or 0.0
        return None if rules.parsed.can_fetch(url, self.agent) else DISALLOWED, min(float(delay), MAX_DELAY)

    async def _rules(self, origin: str) -> Rules:
        cached = _CACHE.get(origin)
        if cached is not None and time.monotonic() < cached.expires:
            return cached
        if origin not in self.in_flight:
            self.in_flight[origin] = asyncio.create_task(self._fetch(origin))
        try:
            # A request that waits for the file and is cancelled must not cancel it for the others that wait.
            return await asyncio.shield(self.in_flight[origin])
        finally:
            if origin in self.in_flight and self.in_flight[origin].done():
                del self.in_flight[origin]

    async def _fetch(self, origin: str) -> Rules:
        error, status, body = await self.get(f"{origin}/robots.txt")
        if error is None:
            rules = Rules(time.monotonic() + CACHE_SECONDS, Protego.parse(body[:MAX_BYTES].decode("utf-8", "replace")))
        elif error in ("empty", "redirect_limit", "too_large") or (status is not None and 400 <= status < 500 and status != 429):
            rules = Rules(time.monotonic() + CACHE_SECONDS)
        else:
            rules = Rules(time.monotonic() + FAILURE_CACHE_SECONDS, error=error)
        _CACHE[origin] = rules
        _CACHE.move_to_end(origin)
        while len(_CACHE) > MAX_ORIGINS:
            _CACHE.popitem(last=False)
        return rules
