"""Near hashes: pairs within a Hamming distance, and which sample of a set of copies is kept.

Rows have ranks: of two copies the one of the lower rank may stay. Of a chain, where a is near b and b near c but a is not near c,
a and c stay: rows are judged by rank, and one is a copy where it is near one that stays. So each copy is near the row named for
it, no two rows that stay are near, and nothing depends on the order in which rows or pairs come.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

LARGE_GROUP = 4096


def pairs_within(keys: np.ndarray, hashes: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs i < j of rows with equal keys uint64[N] and hashes uint64[N] within `distance`: two int64 arrays."""
    # Comparing all rows of a group costs the square of its size: right for groups of a few copies, hopeless for one of thousands.
    # A large group is therefore split by bands of the hash: of d + 1 bands, two hashes within d differ in at most d, so they are
    # equal in one, and rows are compared only with those of an equal band.
    _, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    large = sizes[group] > LARGE_GROUP
    pairs = [_pairs_of_groups(np.flatnonzero(~large), group, hashes, distance)]
    rows = np.flatnonzero(large)
    for band in _bands(hashes[rows], distance + 1):
        smaller_group = np.zeros(len(keys), dtype=np.int64)
        key_and_band = np.stack([group[rows].astype(np.uint64), band])
        smaller_group[rows] = np.unique(key_and_band, axis=1, return_inverse=True)[1].ravel()
        pairs.append(_pairs_of_groups(rows, smaller_group, hashes, distance))
    first, second = np.concatenate(pairs, axis=1)
    return np.divmod(np.unique(first * len(keys) + second), max(1, len(keys)))


def _bands(hashes: np.ndarray, count: int) -> list[np.ndarray]:
    """The bits of hashes uint64[N] in `count` runs of about equal length, each as uint64[N]."""
    edges = np.linspace(0, 64, count + 1).astype(int)
    return [hashes >> np.uint64(low) & np.uint64((1 << (high - low)) - 1) for low, high in pairwise(edges)]


def _pairs_of_groups(rows: np.ndarray, group: np.ndarray, hashes: np.ndarray, distance: int) -> np.ndarray:
    """int64[2, P]: pairs among `rows` of one group. All rows at once are compared with their k-th successor in the group, for
    k = 1, 2, …, until no group has one.
    """
    rows = rows[np.argsort(group[rows], kind="stable")]
    labels, values = group[rows], hashes[rows]
    active, step, pairs = np.arange(len(rows)), 1, [np.zeros((2, 0), dtype=np.int64)]
    while True:
        active = active[active + step < len(rows)]
        active = active[labels[active] == labels[active + step]]
        if len(active) == 0:
            return np.concatenate(pairs, axis=1)
        near = active[np.bitwise_count(values[active] ^ values[active + step]) <= distance]
        pairs.append(np.sort(np.stack([rows[near], rows[near + step]]), axis=0))
        step += 1


def keep_first(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """For each of `count` rows the row that it copies, -1 if it is kept, given near pairs first < second: int64[count].

    Rows are judged in order; a row is a copy when it is near one that is kept, so each copy is near the row named for it.
    """
    copy_of = np.full(count, -1, dtype=np.int64)
    order = np.lexsort((first, second))
    for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if copy_of[j] < 0 and copy_of[i] < 0:
            copy_of[j] = i
    return copy_of


def first_of_groups(keys: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """For each row the lowest of ranks uint64[N] among rows with its key, keys being sorted uint64[N]: uint64[N]."""
    if not len(keys):
        return ranks
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    return np.repeat(np.minimum.reduceat(ranks, starts), np.diff(np.append(starts, len(keys))))


def copies_within(keys: np.ndarray, hashes: np.ndarray, ranks: np.ndarray, distance: int) -> tuple[np.ndarray, ...]:
    """The copies among rows with equal keys, sorted uint64[N], and hashes uint64[N] within `distance`, by rank uint64[N].

    Returns the row of each copy int64[C], the rank of the row it copies uint64[C], and their distance int32[C]. Rows with equal
    hashes, of which there may be millions, are compared as one.
    """
    same = keys[1:] == keys[:-1]
    rows = np.flatnonzero(np.append(same, False) | np.append(False, same))
    rows = rows[np.lexsort((ranks[rows], hashes[rows], keys[rows]))]
    is_new = np.append(True, (np.diff(keys[rows]) != 0) | (np.diff(hashes[rows]) != 0))[: len(rows)]
    starts = rows[is_new]
    nodes = starts[np.argsort(ranks[starts], kind="stable")]  # a row for each hash, by rank
    copy_of = keep_first(*pairs_within(keys[nodes], hashes[nodes], distance), len(nodes))
    kept = np.empty(len(keys), np.int64)  # of each node, the row that stays for it
    kept[nodes] = nodes[np.where(copy_of >= 0, copy_of, np.arange(len(nodes)))]
    stays = kept[starts[np.cumsum(is_new) - 1]] if len(rows) else rows
    is_copy = stays != rows
    rows, stays = rows[is_copy], stays[is_copy]
    return rows, ranks[stays], np.bitwise_count(hashes[rows] ^ hashes[stays]).astype(np.int32)
