"""The demo as a person runs it: seconds and memory of a first run, seconds of a second one.

Memory is the drop of MemAvailable from before the start to its lowest value, so nothing else should run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any


def measure(rows: int) -> dict[str, Any]:
    """Runs the demo twice in a new folder; `rows` is not used."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pipelines.demo", "--root", str(Path(folder) / "demo")]
        first, memory = _run(command)
        second, _ = _run(command)
    return {"figures": {"first_run_s": first, "peak_memory_gib": memory, "second_run_s": second}, "ratios": {}}


def _available() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) / (1 << 20)


def _run(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak memory in GiB of a command."""
    before, least, done = _available(), [_available()], threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            least[0] = min(least[0], _available())

    thread = threading.Thread(target=watch)
    thread.start()
    started = time.monotonic()
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    finally:
        done.set()
        thread.join()
    return round(time.monotonic() - started, 1), round(before - least[0], 2)
