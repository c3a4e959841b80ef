"""The order of the samples of new shards, and where each shard begins.

Every sample has a place, a uint64: a hash of its id, or its position where the order is kept. A shard takes a range of places, so
whoever has a sample knows its shard. Edges are quantiles of all places, or of a fixed share of them where there are very many.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from infra.compat.errors import RequestError
from sharding.index import Dataset, Index, read_index
from sharding.layout import shard_name
from sharding.order import mix
from sharding.tar import BLOCK

READERS = 16
MOST_PLACES = 1 << 27  # in memory: two gigabytes with the sizes of the samples
SHARE_SALT = 0x73686172  # the draw for the share is another than the draw for the place

Item = TypeVar("Item")


@dataclass(frozen=True)
class Cut:
    """How samples become shards: at most so many samples, or about so many bytes, in each; `seed` None keeps the order."""

    samples_per_shard: int
    bytes_per_shard: int
    seed: int | None


def places_of(index: Index, first: int, seed: int | None) -> np.ndarray:
    """The places of a shard's samples, of which the first is sample `first` of the split: uint64[N]."""
    if seed is None:
        return np.arange(first, first + len(index), dtype=np.uint64)
    places, repeats = mix(index.sample_ids, seed), index.repeats()
    for repeat in np.unique(repeats[repeats > 0]).tolist():  # another place for each copy
        places[repeats == repeat] = mix(places[repeats == repeat], repeat)
    return places


def tar_sizes(index: Index) -> np.ndarray:
    """The bytes that each sample takes in a tar, headers and padding with it: int64[N]."""
    lengths = np.stack([*index.lengths.values()])
    sizes: np.ndarray = np.where(lengths < 0, 0, BLOCK + -(-lengths // BLOCK) * BLOCK).sum(axis=0)
    return sizes


def planned_shards(dataset: Dataset, split: str, cut: Cut) -> list[dict[str, Any]]:
    """The new shards of a split in order: label, and the range of places `low` … `high` that each takes."""
    shards = dataset.shards(split)
    firsts = np.cumsum([0, *(shard.samples for shard in shards)])
    share = max(1, -(-int(firsts[-1]) // MOST_PLACES))

    def read(number: int) -> tuple[np.ndarray, np.ndarray]:
        index = read_index(dataset.uri, shards[number].name)
        if len(index) != shards[number].samples:
            raise RequestError(f"the index of {shards[number].name} in {dataset.uri} has {len(index):,} samples; index it again")
        places = places_of(index, int(firsts[number]), cut.seed)
        drawn = mix(places, SHARE_SALT) % np.uint64(share) == 0
        return places[drawn], (tar_sizes(index) if cut.bytes_per_shard else np.ones(len(index), np.int64))[drawn]

    if not shards:
        return []
    with ThreadPoolExecutor(READERS) as pool:
        places, weights = map(np.concatenate, zip(*pool.map(read, range(len(shards))), strict=True))
    lows = edges(places, weights * share, cut.bytes_per_shard or cut.samples_per_shard)
    highs = [low - 1 for low in [*lows[1:], 1 << 64]]
    return [
        {"label": shard_name(split, number), "low": low, "high": high}
        for number, (low, high) in enumerate(zip(lows, highs, strict=True))
    ]


def edges(places: np.ndarray, weights: np.ndarray, most: int) -> list[int]:
    """The lowest place of each shard, 0 first: as few shards as hold `most` by weight on average, equal up to one sample."""
    order = np.argsort(places, kind="stable")
    before = np.cumsum(weights[order]) - weights[order]
    total = int(weights.sum())
    count = -(-total // most)
    starts = np.searchsorted(before, [number * total // count for number in range(1, count)], side="left")
    return [0, *(int(places[order[start]]) for start in np.unique(starts) if start < len(order))]


def batches_by_root(items: Sequence[Item]) -> list[list[Item]]:
    """The items in about √n runs of about √n: as many files between two such cuts as there are items, never their square."""
    size = max(1, int(np.ceil(np.sqrt(len(items)))))
    return [list(items[first : first + size]) for first in range(0, len(items), size)]
