"""The URL frontier of a chunk: which URL is requested next, within the limits of every host.

Each host has a queue of its own, and the hosts that can take a request now stand in one ring; a worker takes the first host of
the ring and one URL of it, and the host goes to the end of the ring if it may take another request. A host that has to pause and
a URL that waits for its retry lie in two heaps ordered by time, and return to the ring when their time has come. One queue of
URLs in their published order was not enough: where the files of one site lie side by side, all workers wait for the same slow
host.

Every host has a circuit breaker: after `breaker` failures in a row it is open, and the host is left alone for `OPEN_SECONDS`;
then one request probes the host, and its success closes the breaker. A host whose probes fail `MAX_PROBES` times is down for
good.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.fetching.errors import HOST_DOWN
from pipelines.fetching.settings import FetchSettings

HOST_FAILURES = {"connect", "timeout", "tls", "bad_response", "http_5xx"}
OPEN_SECONDS, MAX_PROBES = 20.0, 3
BACKOFF = 0.5  # seconds before the first retry, doubled at each


@dataclass
class Host:
    """The queue of one host and the state of its breaker. Times are of `time.monotonic`."""

    waiting: deque[int] = field(default_factory=deque)
    active: int = 0
    in_ring: bool = False
    not_before: float = 0.0
    interval: float = 0.0
    failures: int = 0
    times_opened: int = 0

    @property
    def is_down(self) -> bool:
        """Whether the host is given up."""
        return self.times_opened > MAX_PROBES


class Frontier:
    """The URLs 0 … N - 1 of one chunk, `hosts[i]` being the host of URL i."""

    def __init__(self, hosts: Sequence[str], settings: FetchSettings) -> None:
        self.settings, self.host_of = settings, [*hosts]
        self.hosts: dict[str, Host] = {}
        interval = 1 / settings.per_host_rate if settings.per_host_rate else 0.0
        for index, name in enumerate(hosts):
            self.hosts.setdefault(name, Host(interval=interval)).waiting.append(index)
        self.ring: deque[str] = deque()
        self.retries_at: list[tuple[float, int]] = []
        self.pauses_until: list[tuple[float, str]] = []
        self.unfinished = len(hosts)
        self.attempts = [0] * len(hosts)
        self.idle_workers: deque[asyncio.Future[None]] = deque()
        for name in self.hosts:
            self._add_to_ring(name)

    async def next_url(self) -> int | None:
        """The next URL to request, once there is one that may be requested; None when every URL has ended."""
        while self.unfinished:
            self._collect_due()
            while self.ring:
                name = self.ring.popleft()
                host = self.hosts[name]
                host.in_ring = False
                if not self._has_slot(host):
                    continue
                if not host.is_down and host.not_before > time.monotonic():
                    heapq.heappush(self.pauses_until, (host.not_before, name))
                    continue
                host.active += 1
                host.not_before = max(host.not_before, time.monotonic() + host.interval)
                index = host.waiting.popleft()
                self._add_to_ring(name)
                self._wake_worker()
                return index
            await self._wait()
        self._wake_worker()
        return None

    def is_down(self, index: int) -> bool:
        """Whether the URL's host is given up, so that no request is needed."""
        return self.hosts[self.host_of[index]].is_down

    def set_delay(self, index: int, seconds: float) -> None:
        """Keeps at least `seconds` between two requests to the URL's host."""
        host = self.hosts[self.host_of[index]]
        if seconds > host.interval:
            host.interval = seconds
            host.not_before = max(host.not_before, time.monotonic() + seconds)

    def finish(self, index: int, error: str | None, *, retryable: bool, retry_after: float | None) -> bool:
        """Records the end of an attempt; True when it was the URL's last. `retry_after` is the host's Retry-After in seconds.

        The worker asks for its next URL at once, so no other one is woken for the slot that has become free.
        """
        name = self.host_of[index]
        host = self.hosts[name]
        host.active -= 1
        self._update_breaker(host, error)
        if retry_after is not None:
            host.not_before = max(host.not_before, time.monotonic() + min(retry_after, self.settings.max_pause))
        self.attempts[index] += 1
        is_last = not retryable or self.attempts[index] > self.settings.retries or host.is_down
        if is_last:
            self.unfinished -= 1
        else:
            # Jitter, so that what failed together does not come back together. It changes times, never results.
            delay = BACKOFF * 2 ** (self.attempts[index] - 1) * random.uniform(0.5, 1.5)
            heapq.heappush(self.retries_at, (time.monotonic() + delay, index))
        self._add_to_ring(name)
        return is_last

    def _update_breaker(self, host: Host, error: str | None) -> None:
        if error not in HOST_FAILURES:
            if error != HOST_DOWN:
                host.failures = host.times_opened = 0
            return
        host.failures += 1
        if host.failures >= self.settings.breaker and not host.is_down:
            host.times_opened += 1
            host.failures = self.settings.breaker - 1  # one more failure, of the probe, opens it again
            host.not_before = max(host.not_before, time.monotonic() + OPEN_SECONDS)

    def _has_slot(self, host: Host) -> bool:
        is_probing = host.times_opened and not host.is_down
        return bool(host.waiting) and host.active < (1 if is_probing else self.settings.per_host)

    def _add_to_ring(self, name: str) -> None:
        host = self.hosts[name]
        if not host.in_ring and self._has_slot(host):
            host.in_ring = True
            self.ring.append(name)

    def _collect_due(self) -> None:
        """Retries and paused hosts whose time has come go back to the ring."""
        now = time.monotonic()
        while self.retries_at and self.retries_at[0][0] <= now:
            _, index = heapq.heappop(self.retries_at)
            self.hosts[self.host_of[index]].waiting.append(index)
            self._add_to_ring(self.host_of[index])
        while self.pauses_until and self.pauses_until[0][0] <= now:
            self._add_to_ring(heapq.heappop(self.pauses_until)[1])

    def _wake_worker(self) -> None:
        """Wakes one idle worker if the ring is not empty, and that one wakes the next; all of them at the end."""
        while self.idle_workers and (self.ring or not self.unfinished):
            worker = self.idle_workers.popleft()
            if not worker.done():
                worker.set_result(None)
                if self.unfinished:
                    return

    async def _wait(self) -> None:
        """Returns when woken, or when the next retry or pause is due."""
        times = [heap[0][0] for heap in (self.retries_at, self.pauses_until) if heap]
        worker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.idle_workers.append(worker)
        try:
            await asyncio.wait_for(worker, max(0.0, min(times) - time.monotonic()) if times else None)
        except TimeoutError:
            return
