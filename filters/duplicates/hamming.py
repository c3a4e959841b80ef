"""All hashes within a Hamming distance of a query, among millions, with none missed: multi-index hashing.

The trick: a hash is cut into M keys. Of two hashes that differ in at most r bits, one of the M keys differs in few: where the
radii r_1 … r_M of the keys add up to r - M + 1, some key is within its own radius (pigeonhole). So for each key there is a table
of the hashes by that key, and a query looks up its key and all those within the radius, and compares only the hashes listed
there. Comparing with all was not enough: NumPy does that 264 times a second among one million.

`_hamming.c` searches where it was compiled; NumPy gives the same, slower. Source: Norouzi, Punjani and Fleet, Fast Exact Search
in Hamming Space with Multi-Index Hashing (2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

try:
    import _pairmill_hamming as compiled
except ImportError:  # installed where there is no C compiler
    compiled = None

TABLES = {1: 3, 4: 11}  # words of a hash → tables
ROOM = 1 << 16  # matches at first
BLOCK = 1 << 18  # keys that NumPy looks up at once


class Matches(NamedTuple):
    """Pairs of a query and a row within the radius, by query, then distance, then row: int64[P], int64[P], int32[P]."""

    queries: np.ndarray
    rows: np.ndarray
    distances: np.ndarray


@dataclass(frozen=True)
class HammingIndex:
    """Hashes and their tables; the arrays may be mapped from files.

    hashes  uint64[N, W], for 64 W bits
    starts  uint32[M, 2^B + 1]: where in `rows` each value of the B bits of a table's key begins
    rows    uint32[M, N]: rows of `hashes`, by key
    """

    hashes: np.ndarray
    starts: np.ndarray
    rows: np.ndarray

    @property
    def key_bits(self) -> int:
        """The bits of a key, B."""
        return int(self.starts.shape[1] - 1).bit_length() - 1


def build(hashes: np.ndarray) -> HammingIndex:
    """The index of hashes uint64[N, W], W = 1 or 4, N below 2^32."""
    tables = TABLES[hashes.shape[1]]
    bits = key_bits(*hashes.shape)
    starts = np.zeros((tables, (1 << bits) + 1), np.uint32)
    rows = np.empty((tables, len(hashes)), np.uint32)
    for table in range(tables):
        starts[table], rows[table] = tabulate(hashes, table)
    return HammingIndex(hashes, starts, rows)


def tabulate(hashes: np.ndarray, table: int) -> tuple[np.ndarray, np.ndarray]:
    """One table of hashes uint64[N, W]: starts uint32[2^B + 1] and rows uint32[N]."""
    bits = key_bits(*hashes.shape)
    keys = _keys(hashes, table, bits)
    rows = np.argsort(
        keys.astype(np.uint16), kind="stable"
    )  # NumPy sorts 16 bits by radix, so two times are far faster than once
    if bits > 16:
        rows = rows[np.argsort((keys >> 16).astype(np.uint16)[rows], kind="stable")]
    ends = np.cumsum(np.bincount(keys, minlength=1 << bits))
    return np.concatenate([[0], ends]).astype(np.uint32), rows.astype(np.uint32)


def key_bits(count: int, words: int) -> int:
    """The bits of a key for so many hashes: as many as leave one or two hashes to each."""
    return min(64 * words // TABLES[words], max(4, (max(count, 1) - 1).bit_length() - 1))


def search(index: HammingIndex, queries: np.ndarray, radius: int) -> Matches:
    """All rows of the index within `radius` of each of queries uint64[Q, W]."""
    if compiled is None:
        return search_by_numpy(index, queries, radius)
    hashes, starts, rows = (np.ascontiguousarray(array) for array in (index.hashes, index.starts, index.rows))
    queries = np.ascontiguousarray(queries, np.uint64)
    radii, masks, counts = _probes(len(starts), index.key_bits, radius)
    shape = (len(starts), index.key_bits, masks, counts, radii, radius, queries)
    blocks, ends = [_nothing()], np.zeros(len(queries), np.int64)
    room, first = ROOM, 0
    while first < len(queries):
        matching, distances = np.empty(room, np.int64), np.empty(room, np.int32)
        before = ends[first - 1] if first else 0
        next_query, count = compiled.search(hashes, hashes.shape[1], starts, rows, *shape, first, ends, matching, distances)
        ends[first:next_query] += before
        blocks.append((matching[:count], distances[:count]))
        room = room if next_query > first else 4 * room
        first = next_query
    matching, distances = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
    return _sorted(np.repeat(np.arange(len(queries)), np.diff(ends, prepend=0)), matching, distances)


def search_by_numpy(index: HammingIndex, queries: np.ndarray, radius: int) -> Matches:
    """The same as `search`, in NumPy."""
    radii, masks, counts = _probes(len(index.starts), index.key_bits, radius)
    query_keys = [_keys(queries, table, index.key_bits) for table in range(len(radii))]
    blocks = [(*_nothing(), _nothing()[0])]
    for table, count in enumerate(counts):
        step = max(1, BLOCK // max(1, int(count)))
        for first in range(0, len(queries) if count else 0, step):
            keys = query_keys[table][first : first + step, None] ^ masks[None, :count]
            starts = index.starts[table]
            sizes = (starts[keys + 1] - starts[keys]).ravel().astype(np.int64)
            near = np.repeat(np.repeat(np.arange(first, first + len(keys)), count), sizes)
            places = np.repeat(starts[keys].ravel(), sizes) + np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            rows = index.rows[table][places].astype(np.int64)
            distances = np.bitwise_count(index.hashes[rows] ^ queries[near]).sum(axis=1, dtype=np.int32)
            is_match = distances <= radius
            near, rows, distances = near[is_match], rows[is_match], distances[is_match]
            for earlier in range(table):  # which has given those within its own radius
                other = _keys(index.hashes[rows], earlier, index.key_bits) ^ query_keys[earlier][near]
                is_new = np.bitwise_count(other) > radii[earlier] if radii[earlier] >= 0 else np.ones(len(rows), bool)
                near, rows, distances = near[is_new], rows[is_new], distances[is_new]
            blocks.append((rows, distances, near))
    rows, distances, near = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
    return _sorted(near, rows, distances)


def _nothing() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0, np.int64), np.zeros(0, np.int32)


def _sorted(queries: np.ndarray, rows: np.ndarray, distances: np.ndarray) -> Matches:
    order = np.lexsort((rows, distances, queries))
    return Matches(queries[order], rows[order], distances[order])


def _keys(hashes: np.ndarray, table: int, bits: int) -> np.ndarray:
    """The keys of a table: B bits of each of hashes uint64[N, W], from the table's share of the hash on: uint32[N]."""
    words = hashes.shape[1]
    word, shift = divmod(table * 64 * words // TABLES[words], 64)
    keys = hashes[:, word] >> np.uint64(shift)
    if shift + bits > 64:
        keys = keys | hashes[:, word + 1] << np.uint64(64 - shift)
    return (keys & np.uint64((1 << bits) - 1)).astype(np.uint32)


def _probes(tables: int, bits: int, radius: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each table the radius of its key, int32[M] (-1: it is not needed); all masks up to the largest radius, by number of
    ones, uint32[…]; and how many of these each table tries, int64[M].
    """
    each, more = divmod(radius + 1, tables)
    radii = np.array([each + (table < more) - 1 for table in range(tables)], np.int32)
    masks, counts = _masks(bits, min(bits, int(radii.max())))
    return radii, masks, np.array([counts[min(bits, radius)] if radius >= 0 else 0 for radius in radii.tolist()], np.int64)


@lru_cache(8)
def _masks(bits: int, most: int) -> tuple[np.ndarray, list[int]]:
    """The masks of so many bits with up to `most` ones, by number of ones, and how many have at most 0, 1, … ones."""
    masks, counts = list[int](), list[int]()
    for ones in range(most + 1):
        masks += [sum(1 << place for place in places) for places in combinations(range(bits), ones)]
        counts.append(len(masks))
    return np.array(masks, np.uint32), counts
