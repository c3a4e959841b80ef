"""Progress of long work: a line on stderr with what is done, the rate, and the time left."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from contextlib import suppress
from functools import lru_cache
from types import TracebackType
from typing import Any

INTERVAL = {True: 0.5, False: 10.0}  # seconds between lines: on a terminal, in a log
TALLY_TIMEOUT = 0.2  # seconds that a line waits for the tally, which takes as long to start as a short job does


class Reporter:
    """Counts the units of an item that a task has finished: the task calls it with each new number; `units` is their sum.

    The tally gets the sum at most twice a second: one call of an actor costs as much as a quarter of an image's download. It
    takes the place of the sum that a worker told which was killed since.
    """

    def __init__(self, tally: Any, work: str, item: str) -> None:
        self.tally, self.work, self.item, self.units = tally, work, item, 0
        self.sent_at = time.monotonic()

    def __call__(self, units: int) -> None:
        """Adds `units` to what is done."""
        self.units += units
        if time.monotonic() - self.sent_at >= INTERVAL[True]:
            self.tally.put.remote(self.work, self.item, self.units)
            self.sent_at = time.monotonic()


class Progress:
    """Counts units reported by tasks on any machine and shows them; a context manager around the work.

    The caller adds to `done` what ended tasks reported, so that the last line does not wait for the tally.
    """

    def __init__(self, name: str, unit: str, total: int) -> None:
        import ray

        self.name, self.unit, self.total, self.done = name, unit, total, 0
        self.work = uuid.uuid4().hex
        self.tally = _tally(ray.get_runtime_context().get_job_id())
        self.terminal = sys.stderr.isatty()
        self.started = time.monotonic()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Progress:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop.set()
        self.thread.join()
        self.tally.forget.remote(self.work)
        if kind is None:
            self._show(self.done, last=True)

    def _watch(self) -> None:
        import ray

        while not self.stop.wait(INTERVAL[self.terminal]):
            request = self.tally.get.remote(self.work)
            ready, _ = ray.wait([request], timeout=TALLY_TIMEOUT)
            with suppress(ray.exceptions.RayError):  # a tally lost with its node costs these lines only
                if ready:
                    self._show(ray.get(request))

    def _show(self, done: int, last: bool = False) -> None:
        line = progress_line(self.name, self.unit, done, self.total, time.monotonic() - self.started)
        end = "\n" if last or not self.terminal else ""
        sys.stderr.write(f"\r{line}\033[K{end}" if self.terminal else line + "\n")
        sys.stderr.flush()


@lru_cache(1)
def _tally(driver: str) -> Any:
    """The actor that counts for all work of a driver of Ray, by the driver's id; it ends with the driver."""
    import ray

    @ray.remote(num_cpus=0)
    class Tally:
        def __init__(self) -> None:
            self.done = Counter[str]()
            self.of_items = defaultdict[str, Counter[str]](Counter)

        def put(self, work: str, item: str, units: int) -> None:
            self.done[work] += units - self.of_items[work][item]
            self.of_items[work][item] = units

        def get(self, work: str) -> int:
            return self.done[work]

        def forget(self, work: str) -> None:
            self.of_items.pop(work, None)

    return Tally.remote()  # type: ignore[attr-defined]


def progress_line(name: str, unit: str, done: int, total: int, seconds: float) -> str:
    """One line: name, done of total, rate, time used and time left."""
    rate = done / seconds if seconds > 0 else 0.0
    left = (total - done) / rate if rate > 0 else float("inf")
    remaining = "done" if done >= total else f"{duration(left)} left"
    share = done / total if total else 1.0
    return f"{name:<10} {done:>12,} / {total:,} {unit} {share:>6.1%}  {rate:>10,.0f}/s  {duration(seconds)}  {remaining}"


def duration(seconds: float) -> str:
    """Seconds for people: 42s, 3m07s, 2h05m; ? when unknown."""
    if seconds == float("inf"):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
