"""Lookups of hashes within a Hamming distance, in one thread, among random hashes, half of the queries near one of them; copies.

    hash_B_radius_R_per_s  exact lookups/s among `items` hashes of B bits
    hash_B_build_s, _gib   seconds to build the tables, and their size with the hashes
    brute_B_per_s          NumPy compares a query with all
    faiss_…                faiss's binary indexes: flat, and multi-hash with as many tables and flipped bits of a key as are exact
    vs_faiss_B_radius_R    ours over the faster of these

    job_cpu_s, _peak_mib   `dedup` of as many drawn rows as 1.25 × `items`, for all kinds of copies: all processes
    growth                 CPU of a row in that job over one in a tenth of it
    near_cpu_s, …          the search for pictures that look the same among 3 × `items` hashes; `near_copies` that it found

Lookups/s are per second of CPU; medians of three turns. `--rows` is the number of items, of which there are 16 million.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from filters.duplicates.hamming import TABLES, HammingIndex, build, search
from infra.benchmarks.peers import peer
from infra.benchmarks.tools.alone import run_alone
from infra.benchmarks.tools.copied import fill_copied, fill_hashes

ROWS, TURNS, PEER_SECONDS = 16_000_000, 3, 5.0
QUERIES = {(1, 3): 200_000, (1, 8): 20_000, (1, 12): 1_000, (4, 31): 5_000}  # (words, radius) → queries a turn
BRUTE_QUERIES = 4


def measure(rows: int) -> dict[str, Any]:
    """Speeds among `rows` hashes (0: 16 million) of 64 and of 256 bits."""
    items, figures, ratios = rows or ROWS, dict[str, float](), dict[str, float]()
    with tempfile.TemporaryDirectory(dir=os.environ.get("PAIRMILL_BENCH_DIR")) as folder:
        for words in sorted(TABLES):
            hashes = np.random.default_rng(words).integers(0, 2**64, (items, words), np.uint64)
            np.save(Path(folder) / "hashes.npy", hashes)
            started = time.perf_counter()
            index = build(hashes)
            size = sum(array.nbytes for array in (index.hashes, index.starts, index.rows))
            figures |= {f"hash_{64 * words}_build_s": time.perf_counter() - started, f"hash_{64 * words}_gib": size / 2**30}
            figures[f"brute_{64 * words}_per_s"] = _brute(hashes)
            rates = {radius: _ours(index, radius, count) for (width, radius), count in QUERIES.items() if width == words}
            del index, hashes
            for radius, ours in rates.items():
                theirs = _faiss(Path(folder), words, radius, items)
                name = f"{64 * words}_radius_{radius}"
                figures |= {f"hash_{name}_per_s": ours, **{f"faiss_{name}_{key}": value for key, value in theirs.items()}}
                ratios[f"vs_faiss_{name}"] = ours / max(theirs["flat_per_s"], theirs["multi_hash_per_s"])
        copies, growth = _copies(Path(folder), items)
    return {"figures": {"items": items, **figures, **copies}, "ratios": {**ratios, "growth": growth}}


def _copies(folder: Path, items: int) -> tuple[dict[str, float], float]:
    """Figures of the job and of the search for near pictures, and the growth of the job's CPU with ten times the rows."""
    rows, figures = items * 5 // 4, dict[str, float]()
    per_row = []
    for count in (rows // 10, rows):
        fill_copied(folder / f"job-{count}", count)
        job = run_alone("dedup", str(folder / f"job-{count}"))
        per_row.append(job["cpu_s"] / count)
        shutil.rmtree(folder / f"job-{count}")
    figures |= {"job_rows": rows, **{f"job_{name}": value for name, value in job.items()}}
    fill_hashes(folder / "hashes", 3 * items)
    near = run_alone("near_copies", str(folder / "hashes"))
    figures |= {"near_hashes": 3 * items, **{f"near_{name}": value for name, value in near.items()}}
    shutil.rmtree(folder / "hashes")
    return figures, per_row[1] / per_row[0]


def draw_queries(hashes: np.ndarray, radius: int, count: int) -> np.ndarray:
    """Queries uint64[count, W]: half are random, half one of the hashes with up to `radius` of its bits flipped."""
    rng = np.random.default_rng(radius)
    queries = rng.integers(0, 2**64, (count, hashes.shape[1]), np.uint64)
    near = np.unpackbits(hashes[rng.integers(0, len(hashes), count // 2)].view(np.uint8), axis=1)
    for row in near:
        row[rng.choice(len(row), rng.integers(0, radius + 1), replace=False)] ^= 1
    queries[: count // 2] = np.packbits(near, axis=1).view(np.uint64)
    return rng.permutation(queries)


def _ours(index: HammingIndex, radius: int, count: int) -> float:
    queries = draw_queries(index.hashes, radius, count)
    search(index, queries[: count // 10], radius)
    return count / statistics.median(_cpu_seconds(lambda: search(index, queries, radius)) for _ in range(TURNS))


def _brute(hashes: np.ndarray) -> float:
    queries = draw_queries(hashes, 3, BRUTE_QUERIES)

    def compare() -> None:
        for query in queries:
            np.flatnonzero(np.bitwise_count(hashes ^ query).sum(axis=1, dtype=np.uint16) <= 3)

    return BRUTE_QUERIES / statistics.median(_cpu_seconds(compare) for _ in range(TURNS))


def _faiss(folder: Path, words: int, radius: int, items: int) -> dict[str, float]:
    """The peer's lookups/s, on the file of hashes in a folder; the queries are ours."""
    hashes = np.load(folder / "hashes.npy", mmap_mode="r")
    np.save(folder / "queries.npy", draw_queries(hashes, radius, 2_000))
    tables = TABLES[words]
    key_bits = min(64 * words // tables, (items - 1).bit_length())
    numbers = [radius, tables, key_bits, radius // tables, PEER_SECONDS]
    script = str(Path(__file__).parent / "peers" / "faiss_binary.py")
    command = [str(peer("faiss")), script, *(str(folder / f"{name}.npy") for name in ("hashes", "queries")), *map(str, numbers)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def _cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
