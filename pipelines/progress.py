"""Progress of long work: a line on stderr with what is done, the rate, and the time left."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Any

INTERVAL = {True: 0.5, False: 10.0}  # seconds between lines: on a terminal, in a log


class Reporter:
    """Handed to a task, which calls it with the number of units it has just finished."""

    def __init__(self, tally: Any) -> None:
        self.tally = tally

    def __call__(self, units: int) -> None:
        """Adds `units` to what is done."""
        self.tally.add.remote(units)


class Progress:
    """Counts units reported by tasks on any machine and shows them; a context manager around the work."""

    def __init__(self, name: str, unit: str, total: int) -> None:
        import ray

        @ray.remote(num_cpus=0)
        class Tally:
            def __init__(self) -> None:
                self.done = 0

            def add(self, units: int) -> None:
                self.done += units

            def get(self) -> int:
                return self.done

        self.name, self.unit, self.total = name, unit, total
        self.tally = Tally.remote()  # type: ignore[attr-defined]
        self.reporter = Reporter(self.tally)
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
        if kind is None:
            self._show(last=True)
        import ray

        ray.kill(self.tally)

    def _watch(self) -> None:
        while not self.stop.wait(INTERVAL[self.terminal]):
            self._show()

    def _show(self, last: bool = False) -> None:
        import ray

        done = ray.get(self.tally.get.remote())
        line = progress_line(self.name, self.unit, done, self.total, time.monotonic() - self.started)
        end = "\n" if last or not self.terminal else ""
        sys.stderr.write(f"\r{line}\033[K{end}" if self.terminal else line + "\n")
        sys.stderr.flush()


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
