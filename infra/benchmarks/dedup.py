"""Lookups of hashes within a Hamming distance, in one thread; copies within a corpus: parts of a few minutes each, `--only PART`.

lookups  among random hashes, half of the queries near one of them; `--rows` of them, 16 million
    hash_B_radius_R_per_s  exact lookups/s among hashes of B bits; `mapped_…` with tables mapped from files, as workers have them
    hash_B_build_s, _gib   seconds to build the tables, and their size with the hashes
    brute_B_per_s          NumPy compares a query with all
    faiss_…_flat_per_s     faiss's flat binary index, and vs_faiss_flat_… ours over it
    imagenet22k_core_hours  2 billion pictures looked up as the defaults do: PDQ within 31 bits and 64 bits within 8 (computed)
peer     the same among a sixteenth of them, beside faiss's multi-hash index too, with as many tables and flipped bits of a key as
    are exact: its tables of 16 million take too much memory
    vs_faiss_B_radius_R    ours over the faster of its two
corpus   the search for pictures that look the same among `--rows` hashes, 50 million, one in twenty a copy
    near_cpu_s, _peak_mib  of driver and all workers together; `near_copies` that it found
growth   `dedup` of `--rows` drawn samples, 20 million, for all kinds of copies, and of a tenth of them
    job_cpu_s, _peak_mib   all processes
    growth                 CPU of a row of the larger over one of the smaller

Lookups/s are per second of CPU; medians of three turns.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from filters.duplicates.hamming import TABLES, HammingIndex, build, search
from infra.benchmarks.peers import peer
from infra.benchmarks.tools.alone import run_alone
from infra.benchmarks.tools.copied import fill_copied, fill_hashes

ITEMS, SMALLER, HASHES, ROWS = 16_000_000, 16, 50_000_000, 20_000_000
TURNS, PEER_SECONDS = 3, 5.0
QUERIES = {(1, 3): 200_000, (1, 8): 20_000, (1, 12): 1_000, (4, 31): 5_000}  # (words, radius) → queries a turn
BRUTE_QUERIES = 4
CORPUS = 2_000_000_000  # pictures of LAION-2B

Figures = dict[str, float]


def measure(rows: int) -> dict[str, Any]:
    """All parts, one after the other."""
    measured = [part(rows) for part in PARTS.values()]
    return {kind: {name: value for each in measured for name, value in each[kind].items()} for kind in ("figures", "ratios")}


def lookups(rows: int) -> dict[str, Any]:
    """Speeds among `rows` hashes (0: 16 million) of 64 and of 256 bits."""
    items, figures, ratios = rows or ITEMS, Figures(), Figures()
    with _folder() as folder:
        for words in sorted(TABLES):
            _say(f"building tables of {items:,} hashes of {64 * words} bits")
            started = time.perf_counter()
            index = build(_drawn(folder, words, items))
            size = sum(array.nbytes for array in (index.hashes, index.starts, index.rows))
            figures |= {f"hash_{64 * words}_build_s": time.perf_counter() - started, f"hash_{64 * words}_gib": size / 2**30}
            figures[f"brute_{64 * words}_per_s"] = _brute(index.hashes)
            figures |= {f"hash_{name}": rate for name, rate in _rates(index).items()}
            index = _mapped(index, folder)
            figures |= {f"mapped_{name}": rate for name, rate in _rates(index).items()}
            del index
            for radius in _radii(words):
                name = f"{64 * words}_radius_{radius}"
                flat = _faiss(folder, words, radius, items, tables=0)["flat_per_s"]
                figures[f"faiss_{name}_flat_per_s"] = flat
                ratios[f"vs_faiss_flat_{name}"] = figures[f"hash_{name}_per_s"] / flat
    seconds = sum(CORPUS / figures[f"mapped_{name}_per_s"] for name in ("256_radius_31", "64_radius_8"))
    return {"figures": {"items": items, **figures, "imagenet22k_core_hours": seconds / 3600}, "ratios": ratios}


def peer_lookups(rows: int) -> dict[str, Any]:
    """Ours beside both of faiss's indexes, among a sixteenth of `rows`."""
    items, figures, ratios = (rows or ITEMS) // SMALLER, Figures(), Figures()
    with _folder() as folder:
        for words in sorted(TABLES):
            rates = _rates(build(_drawn(folder, words, items)))
            for radius in _radii(words):
                name = f"{64 * words}_radius_{radius}"
                theirs = _faiss(folder, words, radius, items, TABLES[words])
                figures |= {f"peer_ours_{name}_per_s": rates[f"{name}_per_s"]}
                figures |= {f"peer_faiss_{name}_{key}": value for key, value in theirs.items()}
                ratios[f"vs_faiss_{name}"] = rates[f"{name}_per_s"] / max(theirs["flat_per_s"], theirs["multi_hash_per_s"])
    return {"figures": {"peer_items": items, **figures}, "ratios": ratios}


def corpus(rows: int) -> dict[str, Any]:
    """The search for near pictures among `rows` hashes (0: 50 million)."""
    count = rows or HASHES
    with _folder() as folder:
        _say(f"drawing {count:,} hashes")
        fill_hashes(folder / "hashes", count)
        near = run_alone("near_copies", str(folder / "hashes"))
    _say(json.dumps(near))
    return {"figures": {"near_hashes": count, **{f"near_{name}": value for name, value in near.items()}}, "ratios": {}}


def growth(rows: int) -> dict[str, Any]:
    """The whole job on a tenth of `rows` samples (0: 20 million), then on all."""
    jobs = dict[int, Figures]()
    for count in ((rows or ROWS) // 10, rows or ROWS):
        with _folder() as folder:
            _say(f"drawing {count:,} samples")
            fill_copied(folder / "job", count)
            jobs[count] = run_alone("dedup", str(folder / "job"))
            _say(json.dumps(jobs[count]))
    (few, small), (many, large) = jobs.items()
    figures = {"job_rows": many, **{f"job_{name}": value for name, value in large.items()}, "small_job_cpu_s": small["cpu_s"]}
    return {"figures": figures, "ratios": {"growth": large["cpu_s"] / many / (small["cpu_s"] / few)}}


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "lookups": lookups,
    "peer": peer_lookups,
    "corpus": corpus,
    "growth": growth,
}


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for the time of a measurement."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("PAIRMILL_BENCH_DIR")) as name:
        yield Path(name)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _radii(words: int) -> list[int]:
    return [radius for width, radius in QUERIES if width == words]


def _drawn(folder: Path, words: int, items: int) -> np.ndarray:
    """Random hashes uint64[items, words], in `hashes.npy` too."""
    hashes = np.random.default_rng(words).integers(0, 2**64, (items, words), np.uint64)
    np.save(folder / "hashes.npy", hashes)
    return hashes


def _mapped(index: HammingIndex, folder: Path) -> HammingIndex:
    """The same index, mapped from files."""
    names = ("hashes", "starts", "rows")
    for name in names:
        np.save(folder / f"{name}.npy", getattr(index, name))
    return HammingIndex(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in names))


def _rates(index: HammingIndex) -> Figures:
    """Lookups/s by each radius for hashes so wide."""
    words = index.hashes.shape[1]
    rates = {f"{64 * words}_radius_{radius}_per_s": _ours(index, radius, QUERIES[words, radius]) for radius in _radii(words)}
    _say(json.dumps(rates))
    return rates


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


def _faiss(folder: Path, words: int, radius: int, items: int, tables: int) -> Figures:
    """The peer's lookups/s, on the file of hashes in a folder; the queries are ours. Without `tables` the flat index alone."""
    hashes = np.load(folder / "hashes.npy", mmap_mode="r")
    np.save(folder / "queries.npy", draw_queries(hashes, radius, 2_000))
    key_bits = min(64 * words // TABLES[words], (items - 1).bit_length())
    numbers = [radius, tables, key_bits, radius // TABLES[words], PEER_SECONDS]
    script = str(Path(__file__).parent / "peers" / "faiss_binary.py")
    command = [str(peer("faiss")), script, *(str(folder / f"{name}.npy") for name in ("hashes", "queries")), *map(str, numbers)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(ended.stdout.splitlines()[-1])
    _say(json.dumps({f"faiss {64 * words} within {radius}": figures}))
    return figures


def _cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
