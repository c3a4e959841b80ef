"""Which samples of a global batch share a sequence, and on which rank.

A global batch is a range of positions in the order of training, packed or not. Its packs are a function of the sizes of its
samples and of the number of ranks, of nothing that came before. So a packed run has the length that its settings give it, goes
on from any step at any number of ranks, and learns from the same samples at each step as one that packs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

EVEN = 0.01  # how much longer than the mean the longest pack may be, as a share
SWAPS = 8  # of samples between packs at most, for each pack
PARTNERS = 32  # the shortest packs, with which the longest may swap


@dataclass(frozen=True)
class Packs:
    """The packs of a global batch of N samples, as many on each rank: pack p is the (p // ranks)-th of rank p % ranks.

    of      int64[N]: the pack of each sample; -1: it is in none
    tokens  int64[P]: the tokens of each pack
    tiles   int64[P]: its tiles
    ranks   how many there are
    """

    of: np.ndarray
    tokens: np.ndarray
    tiles: np.ndarray
    ranks: int

    @property
    def owner(self) -> np.ndarray:
        """int64[N]: the rank that computes each sample; -1: none does."""
        return np.where(self.of < 0, -1, self.of % self.ranks)

    @property
    def per_rank(self) -> int:
        """Packs of each rank."""
        return len(self.tokens) // self.ranks

    @property
    def waste(self) -> float:
        """The share of the ranks' tokens that is padding, if each pads its pack to the longest of all ranks' at that time.

        Nothing is padded; but for as long the ranks wait for the one with the longest.
        """
        rows = self.tokens.reshape(-1, self.ranks)
        longest = int(rows.max(axis=1).sum()) * self.ranks
        return 1 - float(rows.sum()) / longest if longest else 0.0


def pack(tokens: np.ndarray, tiles: np.ndarray, most_tokens: int, most_tiles: int, ranks: int) -> Packs:
    """Packs, a multiple of `ranks` and hardly more than must be, that hold all samples; all of nearly the same size.

    tokens, tiles  int64[N]: the sizes of the samples; those of 0 tokens are in no pack

    A sample that is larger than a pack by itself has one of its own.
    """
    packed = np.flatnonzero(tokens > 0)
    sizes = np.stack([tokens[packed], tiles[packed]], axis=1).astype(np.int64)
    limits = np.array([most_tokens, most_tiles], np.int64)
    sums = sizes.sum(axis=0)
    count = max(1, math.ceil(np.max(sums / limits)))
    while True:
        count = math.ceil(count / ranks) * ranks
        places = _balanced(sizes, limits, count)
        if places is not None:
            _even_out(sizes, limits, places, count)
            return _numbered(len(tokens), packed, sizes, places, count, ranks)
        count += 1


def _balanced(sizes: np.ndarray, limits: np.ndarray, count: int) -> np.ndarray | None:
    """The pack int64[N] of each sample, by sizes[N, 2]; None where `count` packs are too few.

    The largest first, each where it adds least to the sum of squares of the loads: of two sizes that makes both even.
    """
    scale = sizes.sum(axis=0).clip(min=1) / count
    loads, places = np.zeros((count, 2), np.int64), np.empty(len(sizes), np.int64)
    relative = sizes / scale
    for sample in np.lexsort((np.arange(len(sizes)), -relative.sum(axis=1))):
        fits = (loads + sizes[sample] <= limits).all(axis=1) | (loads[:, 0] == 0)
        if not fits.any():
            return None
        cost = np.where(fits, (loads / scale) @ relative[sample], np.inf)
        cheapest = np.flatnonzero(cost == cost.min())
        places[sample] = cheapest[loads[cheapest, 0].argmin()]
        loads[places[sample]] += sizes[sample]
    return places


def _even_out(sizes: np.ndarray, limits: np.ndarray, places: np.ndarray, count: int) -> None:
    """Swaps samples of the longest pack with smaller ones, or none, of short packs, in `places`.

    It ends when the longest is hardly longer than the mean, or no swap makes it much shorter.

    The largest first leaves no small samples for the end where a pack holds few. Of the swaps that shorten the longest pack and
    make no other as long, that is taken after which the sum of squares of the loads is smallest.
    """
    scale = sizes.sum(axis=0).clip(min=1) / count
    loads = np.zeros((count, 2), np.int64)
    np.add.at(loads, places, sizes)
    for _ in range(SWAPS * count):
        order = np.lexsort((np.arange(count), loads[:, 0]))
        longest, short = order[-1], order[:-1][:PARTNERS]
        if loads[longest, 0] <= (1 + EVEN) * scale[0]:
            return
        most = loads[longest, 0] - EVEN / 4 * scale[0]
        own, theirs = np.flatnonzero(places == longest), np.flatnonzero(np.isin(places, short))
        partners = np.concatenate([places[theirs], short])  # each gives one of its samples, or none
        moved = sizes[own, None] - np.concatenate([sizes[theirs], np.zeros((len(short), 2), np.int64)])
        left, grown = loads[longest] - moved, loads[partners] + moved
        fits = (grown <= limits).all(axis=2) & (left[..., 1] <= max(limits[1], loads[longest, 1]))
        fits &= np.maximum(left[..., 0], grown[..., 0]) <= most
        if not fits.any():
            return
        squares = ((left / scale) ** 2 + (grown / scale) ** 2 - (loads[partners] / scale) ** 2).sum(axis=2)
        sample, partner = np.unravel_index(np.where(fits, squares, np.inf).argmin(), squares.shape)
        loads[longest], loads[partners[partner]] = left[sample, partner], grown[sample, partner]
        places[own[sample]] = partners[partner]
        if partner < len(theirs):
            places[theirs[partner]] = longest


def _numbered(samples: int, packed: np.ndarray, sizes: np.ndarray, places: np.ndarray, count: int, ranks: int) -> Packs:
    """Packs by falling size: those that the ranks compute at the same time are as long as each other."""
    loads = np.zeros((count, 2), np.int64)
    np.add.at(loads, places, sizes)
    order = np.lexsort((-loads[:, 1], -loads[:, 0]))
    number = np.empty(count, np.int64)
    number[order] = np.arange(count)
    of = np.full(samples, -1, np.int64)
    of[packed] = number[places]
    return Packs(of, loads[order, 0], loads[order, 1], ranks)
