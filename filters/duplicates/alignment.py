"""Two pictures laid over each other: cropped, framed, captioned or mirrored copies and what they show of the original.

The trick: along each axis a copy shows a stretch of the original, or the original lies within a stretch of the copy. So sums over
rows and over columns, which change little with what a corner holds, are compared under each stretch and shift, axis by axis; of
the best few of both axes the pair is kept under which the pixels correlate most, and refined. A border leads that astray, and
many copies show the whole picture: so the search begins there, and `agreement.py` judges whether the second way must be tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

SIDE = 64  # pixels of a thumbnail
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
SCALES = (0.74, 0.78, 0.82, 0.86, 0.9, 0.93, 0.96, 0.98, 1, 1.02, 1.04, 1.07, 1.1, 1.14, 1.18, 1.22, 1.27, 1.32)
SHIFT = 1 / SIDE  # between shifts
BEST = 6  # stretches of an axis that are tried together
STEPS = (0.012, 0.006, 0.003)  # by which scale and shift are refined
LEAST_SHOWN = 0.45  # of a thumbnail that the other one covers


@dataclass(frozen=True)
class Stretch:
    """Along an axis pixel x of one picture shows the other one at scale * x + shift, both in 0 … 1: weights and where it does."""

    scale: float
    shift: float
    weights: np.ndarray
    shows: np.ndarray


@dataclass(frozen=True)
class Overlay:
    """What the other picture shows of one, float32[SIDE, SIDE, 3], and in which rows and columns, float32[SIDE], 0 or 1."""

    shown: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def overlays(one: np.ndarray, other: np.ndarray) -> Iterator[Overlay]:
    """The ways in which a picture may lie over another, both float32[SIDE, SIDE, 3] of 0 … 1, mirrored where that fits better."""
    whole = _stretch(1.0, 0.0)
    for search in (lambda here, there: _refined(here, there, whole, whole), _aligned):
        ways = [(search(one @ LUMA, turned @ LUMA), turned) for turned in (other, other[:, ::-1])]
        (correlation, rows, columns), turned = max(ways, key=lambda way: way[0][0])
        if correlation > -1:
            shown = np.stack([rows.weights @ turned[..., place] @ columns.weights.T for place in range(3)], axis=-1)
            yield Overlay(shown, rows.shows, columns.shows)


def _aligned(one: np.ndarray, other: np.ndarray) -> tuple[float, Stretch, Stretch]:
    """The stretches of rows and columns under which two grey pictures correlate most, and how much."""
    rows, columns = (_best_stretches(_profiles(a), _profiles(b)) for a, b in ((one.T, other.T), (one, other)))
    row, column = max(product(rows, columns), key=lambda pair: _correlation(one, other, *pair))
    return _refined(one, other, row, column)


def _refined(one: np.ndarray, other: np.ndarray, row: Stretch, column: Stretch) -> tuple[float, Stretch, Stretch]:
    best = _correlation(one, other, row, column)
    for step in STEPS:
        moved = True
        while moved:
            moved = False
            for axis, (scale, shift) in product((0, 1), ((step, -step / 2), (-step, step / 2), (0, step), (0, -step))):
                pair = [row, column]
                pair[axis] = _stretch(round(pair[axis].scale + scale, 6), round(pair[axis].shift + shift, 6))
                found = _correlation(one, other, *pair)
                if found > best + 1e-6:
                    best, (row, column), moved = found, pair, True
    return best, row, column


def _profiles(grey: np.ndarray) -> np.ndarray:
    """What changes along an axis, float32[3, SIDE]: the edges across it, the brightness, and the edges along it."""
    across = np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    along = np.abs(np.diff(grey, axis=0, append=grey[-1:]))
    return np.stack([np.sqrt(across.mean(axis=0)), 2 * grey.mean(axis=0), np.sqrt(along).mean(axis=0)])


def _best_stretches(one: np.ndarray, other: np.ndarray) -> list[Stretch]:
    """The stretches under which profiles float32[3, SIDE] correlate most."""
    stretches, weights, shows = _all_stretches()
    shown = (weights.reshape(-1, SIDE) @ other.T).reshape(len(stretches), SIDE, -1)
    mask, here = shows[..., None], one.T[None]
    count = mask.sum(axis=1, keepdims=True)
    left, right = ((values - (values * mask).sum(axis=1, keepdims=True) / count) * mask for values in (here, shown))
    correlations = (left * right).sum(axis=1) / np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1) + 1e-6)
    return [stretches[place] for place in np.argsort(-correlations.mean(axis=1), kind="stable")[:BEST]]


def _correlation(one: np.ndarray, other: np.ndarray, row: Stretch, column: Stretch) -> float:
    """Of two grey pictures where they overlap; -1 where that is too little."""
    mask = row.shows[:, None] * column.shows
    count = mask.sum()
    if count < LEAST_SHOWN * SIDE * SIDE:
        return -1.0
    shown = row.weights @ other @ column.weights.T
    left, right = ((values - (values * mask).sum() / count) * mask for values in (one, shown))
    return float((left * right).sum() / np.sqrt((left**2).sum() * (right**2).sum() + 1e-6))


@lru_cache(1 << 12)
def _stretch(scale: float, shift: float) -> Stretch:
    place = (scale * (np.arange(SIDE) + 0.5) / SIDE + shift) * SIDE - 0.5
    distance = np.abs(np.clip(place, 0, SIDE - 1)[:, None] - np.arange(SIDE))
    shows = (place > -0.5) & (place < SIDE - 0.5)
    return Stretch(scale, shift, np.maximum(0, 1 - distance).astype(np.float32), shows.astype(np.float32))


@lru_cache(1)
def _all_stretches() -> tuple[list[Stretch], np.ndarray, np.ndarray]:
    """All that are tried, their weights float32[H, SIDE, SIDE] and where they show something, float32[H, SIDE]."""
    found = []
    for scale in SCALES:
        low, high = sorted((0.0, 1.0 - scale))
        count = 1 if scale == 1 else max(3, round((high - low) / SHIFT) + 1)
        found += [_stretch(float(scale), float(shift)) for shift in np.linspace(low, high, count)]
    return found, np.stack([each.weights for each in found]), np.stack([each.shows for each in found])
