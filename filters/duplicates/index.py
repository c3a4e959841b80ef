"""Finding near hashes: pairs within a Hamming distance, and which of a set of copies stays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

BLOCK = 1 << 22  # comparisons held in memory at once
LARGE_GROUP = 4096


def nearest(hashes: np.ndarray, items: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of hashes uint64[N], the items uint64[M] within `distance`: (row, item, distance), by row, then nearest first."""
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    step = max(1, BLOCK // max(1, len(items)))
    for start in range(0, len(hashes), step):
        apart = np.bitwise_count(hashes[start : start + step, None] ^ items[None, :])
        rows, columns = np.nonzero(apart <= distance)
        found.append((rows + start, columns, apart[rows, columns].astype(np.int32)))
    rows, columns, apart = (
        (np.concatenate(parts) if parts else np.zeros(0, np.int64) for parts in zip(*found, strict=True))
        if found
        else _no_pairs()
    )
    order = np.lexsort((columns, apart, rows))
    return rows[order], columns[order], apart[order]


def pairs_within(keys: np.ndarray, hashes: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs i < j of rows with equal keys uint64[N] and hashes uint64[N] within `distance`: two int64 arrays.

    A group of thousands is first cut by bands of the hash: two hashes within d agree on at least one of d + 1 bands.
    """
    _, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    large = sizes[group] > LARGE_GROUP
    found = [_pairs_of_groups(np.flatnonzero(~large), group, hashes, distance)]
    rows = np.flatnonzero(large)
    for band in _bands(hashes[rows], distance + 1):
        cut = np.unique(np.stack([group[rows].astype(np.uint64), band]), axis=1, return_inverse=True)[1].ravel()
        whole = np.zeros(len(keys), dtype=np.int64)
        whole[rows] = cut
        found.append(_pairs_of_groups(rows, whole, hashes, distance))
    pairs = np.unique(np.concatenate(found, axis=1), axis=1)
    return pairs[0], pairs[1]


def _bands(hashes: np.ndarray, count: int) -> list[np.ndarray]:
    edges = np.linspace(0, 64, count + 1).astype(int)
    return [hashes >> np.uint64(low) & np.uint64((1 << (high - low)) - 1) for low, high in pairwise(edges)]


def _pairs_of_groups(rows: np.ndarray, group: np.ndarray, hashes: np.ndarray, distance: int) -> np.ndarray:
    """Pairs among `rows` that share a group: every row is compared with its k-th successor, for growing k, while groups last."""
    rows = rows[np.argsort(group[rows], kind="stable")]
    labels, values = group[rows], hashes[rows]
    alive, step, found = np.arange(len(rows)), 1, [np.zeros((2, 0), dtype=np.int64)]
    while True:
        alive = alive[alive + step < len(rows)]
        alive = alive[labels[alive] == labels[alive + step]]
        if len(alive) == 0:
            return np.concatenate(found, axis=1)
        near = alive[np.bitwise_count(values[alive] ^ values[alive + step]) <= distance]
        found.append(np.sort(np.stack([rows[near], rows[near + step]]), axis=0))
        step += 1


def keep_first(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """Which of `count` rows copies which, given pairs first < second: int64[count], -1 for rows that stay.

    Rows are judged in order; a row goes when it is near one that stays, so every verdict has a direct witness.
    """
    copy_of = np.full(count, -1, dtype=np.int64)
    order = np.lexsort((first, second))
    for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if copy_of[j] < 0 and copy_of[i] < 0:
            copy_of[j] = i
    return copy_of


def _no_pairs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32)
