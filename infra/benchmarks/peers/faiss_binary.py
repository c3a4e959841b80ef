"""faiss's binary indexes on hashes in files, in one thread.

    python faiss_binary.py HASHES QUERIES RADIUS TABLES KEY_BITS FLIPS SECONDS

run by its path with the Python of the peer `faiss`. HASHES and QUERIES are .npy files, uint64[N, W]. Prints JSON last: lookups/s
of the flat index and, unless TABLES is 0, of the multi-hash index with so many tables and flipped bits of a key, and seconds to
build that; each stops its queries after about SECONDS.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import faiss
import numpy as np

BATCH = 64  # queries at once


def rate(index: Any, queries: np.ndarray, radius: int, seconds: float) -> float:
    """Lookups/s of all rows within the radius."""
    started, count = time.process_time(), 0
    while count < len(queries) and time.process_time() - started < seconds:
        index.range_search(queries[count : count + BATCH], radius + 1)  # strictly below
        count += len(queries[count : count + BATCH])
    return count / (time.process_time() - started)


def main(arguments: list[str]) -> None:
    """Measures both indexes."""
    faiss.omp_set_num_threads(1)
    hashes, queries = (np.load(path).view(np.uint8) for path in arguments[:2])
    radius, tables, key_bits, flips = map(int, arguments[2:6])
    seconds, bits = float(arguments[6]), 8 * hashes.shape[1]
    flat = faiss.IndexBinaryFlat(bits)
    flat.add(hashes)
    figures = {"flat_per_s": rate(flat, queries, radius, seconds)}
    del flat
    if tables:
        figures |= _of_multi_hash(faiss.IndexBinaryMultiHash(bits, tables, key_bits), flips, hashes, (queries, radius, seconds))
    sys.stdout.write("\n" + json.dumps(figures) + "\n")


def _of_multi_hash(multi: Any, flips: int, hashes: np.ndarray, lookups: tuple[np.ndarray, int, float]) -> dict[str, float]:
    multi.nflip = flips
    started = time.perf_counter()
    multi.add(hashes)
    build_seconds = time.perf_counter() - started
    return {"multi_hash_build_s": build_seconds, "multi_hash_per_s": rate(multi, *lookups)}


if __name__ == "__main__":
    main(sys.argv[1:])
