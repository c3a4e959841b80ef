"""Work in a process of its own, so that the memory measured is its own.

`python -m infra.benchmarks.tools.alone WORK ARGUMENTS…` prints the figures as JSON last.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

from infra.benchmarks.tools.memory import PeakTogether, cpu_seconds, peak_mib, watched_workers


def run_alone(work: str, *arguments: str) -> dict[str, float]:
    """The figures of one of the functions below, run in a new process; RuntimeError when it fails."""
    command = [sys.executable, "-m", "infra.benchmarks.tools.alone", work, *arguments]
    ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if ended.returncode:
        raise RuntimeError(f"{work} ended with {ended.returncode}; its messages are above")
    figures: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])  # DuckDB may print its progress before
    return figures


def query(root: str, sql: str) -> dict[str, float]:
    """MiB of a query on the view `manifest`."""
    from pipelines.manifest import connect

    connect(root).sql(sql).fetchall()
    return {"peak": peak_mib()}


def jobs(root: str, source: str, *files: str) -> dict[str, float]:
    """Peak MiB of the driver and of the largest worker over ingest and stage1; seconds of a stage1 with nothing to do."""
    from pipelines import ingest, stage1
    from pipelines.runtime.runner import start_ray

    start_ray()
    with watched_workers() as workers:
        _require_done(ingest.main(["--root", root, source, *files])["failed"])
        _require_done(stage1.main(["--root", root])["failed"])
        driver = peak_mib()
        started = time.perf_counter()
        stage1.main(["--root", root])
        again = time.perf_counter() - started
    return {"driver": driver, "worker": max(workers.values()), "again": again}


def ingest_pairs(root: str, path: str) -> dict[str, float]:
    """Peak MiB of the driver over the ingest of a file of pairs."""
    from pipelines import ingest

    _require_done(ingest.main(["--root", root, "pairs", path])["failed"])
    return {"peak": peak_mib()}


def judge_captions(root: str) -> dict[str, float]:
    """Peak MiB of the worker that judges captions."""
    from pipelines import stage2
    from pipelines.runtime.runner import start_ray

    start_ray()
    with watched_workers() as workers:
        alone = ["--set", "stage2.boilerplate.duplicate_text.enabled=false"]  # counting the corpus is a job of its own
        _require_done(stage2.main(["--root", root, *alone])["failed"])
        time.sleep(1)  # until the workers' last figures are read
    return {"peak": max(workers.values())}


def count_captions(root: str, source: str) -> dict[str, float]:
    """MiB of counting duplicate captions: the driver and all workers at their worst."""
    from pipelines.corpus import caption_counts
    from pipelines.manifest.parts import read_parts
    from pipelines.manifest.storage import Storage
    from pipelines.runtime.runner import start_ray

    storage = Storage(root)
    start_ray()
    with watched_workers() as workers:
        _require_done(caption_counts.count_captions(storage, read_parts(storage, source)).failed)
    return {"peak": peak_mib() + sum(workers.values())}


def dedup(root: str) -> dict[str, float]:
    """Seconds, seconds of CPU, and MiB that the driver and all workers held at one time, of `dedup`."""
    from pipelines import dedup as job

    return _of_job(lambda: _require_done(job.main(["--root", root])["failed"]))


def near_copies(root: str) -> dict[str, float]:
    """The same of the search for pictures that look the same."""
    from infra.benchmarks.tools.copied import parts_under
    from pipelines.corpus.copies import find_copies
    from pipelines.corpus.settings import DedupSettings

    storage, parts = parts_under(root)
    settings = DedupSettings(kinds=("pixels",), drop=("pixels",))
    found: dict[str, float] = {}

    def search() -> None:
        found["copies"] = sum(file.rows for file in find_copies(storage, parts, settings).files)

    return {**_of_job(search), **found}


def _of_job(work: Callable[[], None]) -> dict[str, float]:
    from pipelines.runtime.runner import start_ray

    start_ray()
    together = PeakTogether()
    with watched_workers(together), watched_workers(cpu_seconds) as cpu:
        started, used = time.perf_counter(), cpu_seconds()
        work()
        seconds = time.perf_counter() - started
        time.sleep(1)  # until the workers' last figures are read
    return {"s": seconds, "cpu_s": cpu_seconds() - used + sum(cpu.values()), "peak_mib": together.peak}


def _require_done(failed: dict[str, str]) -> None:
    if failed:
        raise RuntimeError(f"parts failed: {failed}")


if __name__ == "__main__":
    works: dict[str, Callable[..., dict[str, float]]] = {
        work.__name__: work for work in (query, jobs, ingest_pairs, judge_captions, count_captions, dedup, near_copies)
    }
    sys.stdout.write("\n" + json.dumps(works[sys.argv[1]](*sys.argv[2:])) + "\n")
