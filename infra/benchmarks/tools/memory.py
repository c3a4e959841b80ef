"""Peak memory and seconds of CPU of this process and of Ray's workers, from /proc.

getrusage's figure outlives fork and exec: a child would report its parent's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def peak_mib(process: str = "self") -> float:
    """The most memory that a process has held, in MiB."""
    status = Path("/proc", process, "status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines.get("VmHWM", "0 kB").split()[0]) / 1024


def cpu_seconds(process: str = "self") -> float:
    """The seconds of CPU that a process has used."""
    fields = Path("/proc", process, "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def held_mib(process: str = "self") -> float:
    """The memory that a process holds now and shares with no file, in MiB."""
    status = Path("/proc", process, "status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines.get("RssAnon", "0 kB").split()[0]) / 1024


class PeakTogether:
    """The most memory, in MiB, that this process and Ray's workers held at one time: a measure for `watched_workers`."""

    def __init__(self) -> None:
        self.now, self.peak = dict[str, float](), 0.0

    def __call__(self, process: str) -> float:
        """Takes the memory of one process; those that have ended hold none."""
        self.now = {each: held for each, held in self.now.items() if Path("/proc", each).exists()} | {process: held_mib(process)}
        self.peak = max(self.peak, sum(self.now.values()) + held_mib())
        return self.peak


@contextmanager
def watched_workers(measure: Callable[[str], float] = peak_mib) -> Iterator[dict[str, float]]:
    """Process id → the last measure, peak MiB where none is given, of every Ray worker that runs during the block."""
    workers: dict[str, float] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if b"ray::" in (process / "cmdline").read_bytes():
                        workers[process.name] = measure(process.name)
                except OSError:  # it has ended
                    continue

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield workers
    finally:
        done.set()
