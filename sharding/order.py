"""Which sample comes at which position: shuffles that are functions of a seed, the same on every machine and version.

A position counts samples from the start of training, over all epochs. The sample at any position is computed directly, so a
training resumes exactly, at any number of ranks.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

WINDOW = 16  # shards shuffled together, and so open at a time in a reader
RUN_LENGTH = 8  # neighbours in a shard that come one after the other, where shards were written in random order


def mix(values: np.ndarray, seed: int) -> np.ndarray:
    """A hash of each uint64[N] under a seed: uint64[N], uniform and one-to-one. SplitMix64's finaliser, twice."""
    with np.errstate(over="ignore"):
        state = values.astype(np.uint64) + np.uint64(seed % (1 << 64)) * np.uint64(0x9E3779B97F4A7C15)
        for _ in range(2):
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
    return state


def permutation(count: int, seed: int) -> np.ndarray:
    """A shuffle of 0 … count - 1: int64[count]."""
    return np.argsort(mix(np.arange(count, dtype=np.uint64), seed), kind="stable")


class Order:
    """The order of samples over all epochs. In each the shards are shuffled, then the samples within windows of `window` shards.

    A reader so needs no more than `window` shards open at a time. Samples that lie side by side in a shard come near each other,
    `neighbour_distance` positions apart: enough where the shards were written in random order, as `export` does. Shards that were
    written in the order of a crawl need a larger window, or `pairmill reshard`. ValueError when there are no samples.

    What is shuffled are runs of `run_length` neighbours, which one request can fetch; each epoch draws anew where runs begin.
    More than 1 is for shards in random order, whose neighbours are as random as any other samples.
    """

    def __init__(self, sizes: list[int], seed: int, window: int = WINDOW, run_length: int = 1) -> None:
        if not sum(sizes):
            raise ValueError("the split has no samples")
        self.sizes, self.seed, self.window = np.asarray(sizes, dtype=np.int64), seed, window
        self.run_length = run_length
        self.total = int(self.sizes.sum())
        self._shards = lru_cache(4)(self._shards)  # type: ignore[method-assign]
        self._window = lru_cache(4)(self._window)  # type: ignore[method-assign]

    def at_many(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The samples at positions int64[N]: their shards int64[N] and their rows in them int64[N]."""
        epochs, places = np.divmod(np.asarray(positions, dtype=np.int64), self.total)
        shards, rows = np.empty_like(places), np.empty_like(places)
        for epoch in {*epochs.tolist()}:  # np.unique takes longer
            ends = self._shards(epoch)[1]
            groups = np.where(epochs == epoch, np.searchsorted(ends, places, side="right"), -1)
            for group in {*groups.tolist()} - {-1}:
                members, member_rows = self._window(epoch, group)
                inside = places[groups == group] - (ends[group - 1] if group else 0)
                shards[groups == group], rows[groups == group] = members[inside], member_rows[inside]
        return shards, rows

    def neighbour_distance(self) -> float:
        """Mean distance in positions of two samples of different runs that lie side by side in a shard, over the first window.

        In a full shuffle it is a third of all samples. 0 where no shard has two runs.
        """
        shards, rows = self._window(0, 0)
        positions = np.lexsort((rows, shards))  # of the samples in the order of shard and row
        distances = np.diff(positions)
        adjacent = (np.diff(shards[positions]) == 0) & ((distances != 1) | (self.run_length == 1))
        return float(np.abs(distances[adjacent]).mean()) if adjacent.any() else 0.0

    def _shards(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The epoch's shard order, and the number of samples up to the end of each window."""
        shards = permutation(len(self.sizes), self._seed(epoch, 0))
        ends = np.cumsum(self.sizes[shards])
        last = np.minimum(np.arange(self.window, len(shards) + self.window, self.window), len(shards)) - 1
        return shards, ends[last]

    def _window(self, epoch: int, group: int) -> tuple[np.ndarray, np.ndarray]:
        """The window's samples in order: shards int64[n] and rows int64[n]."""
        shards = self._shards(epoch)[0][group * self.window : (group + 1) * self.window]
        sizes = self.sizes[shards]
        members = np.repeat(shards, sizes)
        rows = np.arange(len(members)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        seed = self._seed(epoch, group + 1)
        begins = mix(shards.astype(np.uint64), seed) % np.uint64(self.run_length)
        runs = (rows + np.repeat(begins.astype(np.int64), sizes)) // self.run_length
        firsts = np.append(True, (np.diff(runs) != 0) | (np.diff(members) != 0))[: len(members)]
        keys = mix(np.arange(firsts.sum(), dtype=np.uint64), seed)
        order = np.argsort(keys[np.cumsum(firsts) - 1], kind="stable")
        return members[order], rows[order]

    def _seed(self, epoch: int, place: int) -> int:
        return int(mix(np.array([(epoch << 32) + place], dtype=np.uint64), self.seed)[0])
