"""How much of one picture is in another, once the two are laid over each other: cropped, framed, captioned or mirrored copies.

The trick: along each axis a copy shows a stretch of the original, or the original lies within a stretch of the copy. So sums over
rows and over columns, which change little with what a corner holds, are compared under each stretch and shift, axis by axis; of
the best few of both axes the pair is kept under which the pixels correlate most, and refined. What is counted then are not
differences on average, which a small sibling of a picture (another coin, another flag) keeps low, but how much of the structure
agrees window by window: a logo costs its own windows, another motto on a coin costs all that differ. And as marks are put into
corners and along sides, so much must agree of the middle alone too: another digit on the same key is another picture.
"""

from __future__ import annotations

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
WINDOW = 7  # pixels
ALIKE = 0.7  # structural similarity of a window, 0 … 1
NOISE = 4e-4  # variances, of values 0 … 1, that count for nothing
STRONGEST = 0.01  # a window of more variance weighs no more
LEAST_STRUCTURE = 20.0  # weight of all windows together, below which two pictures have too little to agree in
COLOURS_APART, GREY = 0.12, 0.02  # of chroma, 0 … 1: two colours, and the deviation of a picture without any


@dataclass(frozen=True)
class Stretch:
    """Along an axis pixel x of one picture shows the other one at scale * x + shift, both in 0 … 1: weights and where it does."""

    scale: float
    shift: float
    weights: np.ndarray
    shows: np.ndarray


def agreement(picture: np.ndarray, original: np.ndarray) -> float:
    """The share, 0 … 1, of structure that agrees where two thumbnails uint8[SIDE, SIDE, 3] overlap: of all of it, or of the
    middle if that is less.
    """
    one, other = (image.astype(np.float32) / 255 for image in (picture, original))
    best, aligned = -1.0, (other, _stretch(1.0, 0.0), _stretch(1.0, 0.0))
    for turned in (other, other[:, ::-1]):
        correlation, rows, columns = _aligned(one @ LUMA, turned @ LUMA)
        if correlation > best:
            best, aligned = correlation, (turned, rows, columns)
    return _agreeing(one, *aligned)


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


def _agreeing(one: np.ndarray, other: np.ndarray, row: Stretch, column: Stretch) -> float:
    """The weighted share of windows in which two aligned pictures, float32[SIDE, SIDE, 3], look alike."""
    shown = np.stack([row.weights @ other[..., place] @ column.weights.T for place in range(3)], axis=-1)
    mask = row.shows[:, None] * column.shows
    count = np.maximum(_windows(mask), 1)
    left, right = (image @ LUMA * mask for image in (one, shown))
    left_mean, right_mean = _windows(left) / count, _windows(right) / count
    left_variance = np.maximum(0, _windows(left**2) / count - left_mean**2) * mask
    right_variance = np.maximum(0, _windows(right**2) / count - right_mean**2) * mask
    gain = np.sqrt((left_variance.sum() + NOISE) / (right_variance.sum() + NOISE))  # another contrast is no difference
    covariance, right_variance = gain * (_windows(left * right) / count - left_mean * right_mean), gain**2 * right_variance
    alike = (2 * covariance + NOISE) / (left_variance + right_variance + NOISE) > ALIKE
    weight = mask * np.sqrt(np.minimum(np.maximum(left_variance, right_variance), STRONGEST))
    alike &= ~_of_other_colours(one, shown, mask, count)
    unlike = weight * ~alike
    middle = np.ix_(*(_middle(shows) for shows in (row.shows, column.shows)))
    in_middle = 1 - unlike[middle].sum() / max(weight[middle].sum(), LEAST_STRUCTURE / 4)
    return float(min((weight - unlike).sum() / max(weight.sum(), LEAST_STRUCTURE), in_middle))


def _middle(shows: np.ndarray) -> np.ndarray:
    """The middle half of the pixels of an axis that show something."""
    shown = np.flatnonzero(shows)
    return shown[len(shown) // 4 : len(shown) - len(shown) // 4]


def _of_other_colours(one: np.ndarray, other: np.ndarray, mask: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Where two pictures have different colours, bool[SIDE, SIDE]; nowhere if one is grey."""
    chroma = [(image[..., ::2] - (image @ LUMA)[..., None]) * mask[..., None] for image in (one, other)]
    if min(float((each**2).sum() / mask.sum()) for each in chroma) < GREY**2:
        return np.zeros(mask.shape, bool)
    apart = [_windows(chroma[0][..., place] - chroma[1][..., place]) / count for place in (0, 1)]
    different: np.ndarray = apart[0] ** 2 + apart[1] ** 2 > COLOURS_APART**2
    return different


def _windows(values: np.ndarray) -> np.ndarray:
    """The sums of values float32[SIDE, SIDE] over the window around each, of those there are."""
    for _ in range(2):
        sums = np.cumsum(np.pad(values, ((WINDOW // 2 + 1, WINDOW // 2), (0, 0))), axis=0, dtype=np.float64)
        values = (sums[WINDOW:] - sums[:-WINDOW]).T
    return values


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
