"""Near hashes of a whole corpus: keys that two hashes within a distance share, so that a shuffle brings them together.

The trick: a hash is cut into d + 2 blocks of about equal length. Two hashes that differ in at most d bits differ in at most d
blocks, so two blocks at least are equal. A hash is therefore filed once under each choice of two blocks, and compared only with
those of the same key: among billions a few dozen, where one block alone would leave hundreds of thousands. No pair is missed, and
a pair that shares several keys is told under the first of them alone.

Source: Manku, Jain and Das Sarma, Detecting Near-Duplicates for Web Crawling (2007).
"""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np

from filters.duplicates.index import pairs_within

SHARED = 2  # blocks in a key
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it is one to one: it spreads keys over all ranges


def choices(distance: int) -> list[tuple[int, ...]]:
    """The blocks of each key of a hash, in order; a distance is 1 at least."""
    return list(combinations(range(distance + SHARED), SHARED))


def block_keys(hashes: np.ndarray, distance: int, choice: int) -> np.ndarray:
    """The keys, uint64[N], of hashes uint64[N] under one of `choices(distance)`: each choice has an even range of keys."""
    blocks, count = _block_masks(distance), len(choices(distance))
    mask = np.bitwise_or.reduce(blocks[list(choices(distance)[choice])])
    keys: np.ndarray = np.uint64(choice * _span(count)) + ((hashes & mask) * SPREAD) // np.uint64(count)
    return keys


def pairs_of_keys(keys: np.ndarray, hashes: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs i < j of rows with equal keys, sorted uint64[N] of `block_keys`, and hashes uint64[N] within `distance`: two int64.

    Over all keys each pair of hashes is given once.
    """
    same = keys[1:] == keys[:-1]
    rows = np.flatnonzero(np.append(same, False) | np.append(False, same))  # most are alone
    first, second = (rows[side] for side in pairs_within(keys[rows], hashes[rows], distance))
    choice = (keys[first] // np.uint64(_span(len(choices(distance))))).astype(np.int64)
    is_first = _first_choice(hashes[first] ^ hashes[second], distance) == choice
    return first[is_first], second[is_first]


def _first_choice(differing: np.ndarray, distance: int) -> np.ndarray:
    """The first choice of equal blocks of pairs whose differing bits are uint64[P]: int64[P]."""
    equal = (differing[:, None] & _block_masks(distance)) == 0
    place = np.cumsum(equal, axis=1)
    picked = [np.argmax(equal & (place == number), axis=1) for number in range(1, SHARED + 1)]
    numbers = np.zeros((distance + SHARED,) * SHARED, np.int64)
    for number, blocks in enumerate(choices(distance)):
        numbers[blocks] = number
    first: np.ndarray = numbers[tuple(picked)]
    return first


def _block_masks(distance: int) -> np.ndarray:
    """The bits of each block: uint64[distance + SHARED]."""
    edges = np.linspace(0, 64, distance + SHARED + 1).astype(int).tolist()
    return np.array([(1 << high) - (1 << low) for low, high in pairwise(edges)], np.uint64)


def _span(count: int) -> int:
    """How many keys each of `count` choices has."""
    return (1 << 64) // count
