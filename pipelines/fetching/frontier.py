"""Which URL is asked for next: hosts take turns, none is asked more, faster or longer than it can bear.

A host that fails again and again rests, is probed, and is given up when it does not come back; a URL that may heal waits its time
without keeping a worker.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.fetching.settings import FetchSettings

HOST_DOWN = "host_down"
MISSES = {"connect", "timeout", "tls", "bad_response", "http_5xx"}
REST, PROBES = 20.0, 3  # seconds a failing host is left alone, and how often it may fail after that
BACKOFF = 0.5  # seconds before the first further try, doubled at each


@dataclass
class Host:
    """What is known of one host, and what is still to be asked of it."""

    waiting: deque[int] = field(default_factory=deque)
    active: int = 0
    queued: bool = False
    not_before: float = 0.0
    interval: float = 0.0
    misses: int = 0
    rests: int = 0

    @property
    def is_down(self) -> bool:
        """Whether it was given up."""
        return self.rests > PROBES


class Frontier:
    """The URLs 0 … N - 1 of one chunk, `hosts[i]` being the host of URL i."""

    def __init__(self, hosts: Sequence[str], settings: FetchSettings) -> None:
        self.settings, self.host_of = settings, [*hosts]
        self.hosts: dict[str, Host] = {}
        interval = 1 / settings.per_host_rate if settings.per_host_rate else 0.0
        for index, name in enumerate(hosts):
            self.hosts.setdefault(name, Host(interval=interval)).waiting.append(index)
        self.ready: deque[str] = deque()
        self.later: list[tuple[float, int]] = []
        self.resting: list[tuple[float, str]] = []
        self.left = len(hosts)
        self.tries = [0] * len(hosts)
        self.idle: deque[asyncio.Future[None]] = deque()
        for name in self.hosts:
            self._queue(name)

    async def take(self) -> int | None:
        """The next URL that may be asked for; waits until one may. None when every URL has ended."""
        while self.left:
            self._wake()
            while self.ready:
                name = self.ready.popleft()
                host = self.hosts[name]
                host.queued = False
                if not self._may(host):
                    continue
                if not host.is_down and host.not_before > time.monotonic():
                    heapq.heappush(self.resting, (host.not_before, name))
                    continue
                host.active += 1
                host.not_before = max(host.not_before, time.monotonic() + host.interval)
                index = host.waiting.popleft()
                self._queue(name)
                self._call()
                return index
            await self._wait()
        return None

    def is_down(self, index: int) -> bool:
        """Whether the URL's host was given up, so that it need not be asked."""
        return self.hosts[self.host_of[index]].is_down

    def pace(self, index: int, seconds: float) -> None:
        """The URL's host wants so many seconds between two requests."""
        host = self.hosts[self.host_of[index]]
        if seconds > host.interval:
            host.interval = seconds
            host.not_before = max(host.not_before, time.monotonic() + seconds)

    def ended(self, index: int, error: str | None, *, may_heal: bool, pause: float | None) -> bool:
        """A try of the URL is over; True when that was its last one. `pause` is what the host asked for by Retry-After."""
        name = self.host_of[index]
        host = self.hosts[name]
        host.active -= 1
        self._judge(host, error)
        if pause is not None:
            host.not_before = max(host.not_before, time.monotonic() + min(pause, self.settings.max_pause))
        self.tries[index] += 1
        final = not may_heal or self.tries[index] > self.settings.retries or host.is_down
        if final:
            self.left -= 1
        else:
            # Jitter, so that what failed together does not come back together. It moves times, never results.
            wait = BACKOFF * 2 ** (self.tries[index] - 1) * random.uniform(0.5, 1.5)
            heapq.heappush(self.later, (time.monotonic() + wait, index))
        self._queue(name)
        self._call()
        return final

    def _judge(self, host: Host, error: str | None) -> None:
        if error not in MISSES:
            if error != HOST_DOWN:
                host.misses = host.rests = 0
            return
        host.misses += 1
        if host.misses >= self.settings.breaker and not host.is_down:
            host.rests += 1
            host.misses = self.settings.breaker - 1  # one more miss after the rest, and it rests again
            host.not_before = max(host.not_before, time.monotonic() + REST)

    def _may(self, host: Host) -> bool:
        probing = host.rests and not host.is_down
        return bool(host.waiting) and host.active < (1 if probing else self.settings.per_host)

    def _queue(self, name: str) -> None:
        host = self.hosts[name]
        if not host.queued and self._may(host):
            host.queued = True
            self.ready.append(name)

    def _wake(self) -> None:
        now = time.monotonic()
        while self.later and self.later[0][0] <= now:
            _, index = heapq.heappop(self.later)
            self.hosts[self.host_of[index]].waiting.append(index)
            self._queue(self.host_of[index])
        while self.resting and self.resting[0][0] <= now:
            self._queue(heapq.heappop(self.resting)[1])

    def _call(self) -> None:
        """Wakes one idle worker where there is something to take; the next is woken by it. All of them at the end."""
        while self.idle and (self.ready or not self.left):
            waiter = self.idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                if self.left:
                    return

    async def _wait(self) -> None:
        times = [heap[0][0] for heap in (self.later, self.resting) if heap]
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.idle.append(waiter)
        try:
            await asyncio.wait_for(waiter, max(0.0, min(times) - time.monotonic()) if times else None)
        except TimeoutError:
            return
