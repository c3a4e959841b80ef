"""How much of one picture is in another, once the two are laid over each other (`alignment.py`): copies agree, siblings do not.

A small sibling of a picture, another coin or another flag, keeps differences low on average. So three things are asked, and the
least of the answers counts:

* how much of the structure agrees, window by window: a logo costs its own windows, another motto on a coin costs all that differ;
  and as marks are put into corners and along sides, as much of the middle alone: another digit on a key is another picture;
* whether the middle has the same brightness and colour everywhere: flags of two countries differ in nothing else. What a pixel
  away has is as good, since edges never lie quite alike; what is left over, on average over a small window, is some hundredths
  after a JPEG of low quality, and an emblem or another colour a third;
* how much of the area is of another brightness or colour.

Another contrast, paler colours and less sharpness are no differences, and colours are none where one picture is grey.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from filters.duplicates.alignment import LUMA, SIDE, Overlay, overlays

STRUCTURE_WINDOW, WINDOW = 7, 5  # pixels
ALIKE = 0.7  # structural similarity of a window, 0 … 1
NOISE = 4e-4  # variances, of values 0 … 1, that count for nothing
STRONGEST = 0.01  # a window of more variance weighs no more
LEAST_STRUCTURE = 20.0  # weight of all windows together, below which two pictures have too little to agree in
GREY = 0.02  # deviation of the colours of a picture without any, of values 0 … 1
LEAST_SPREAD = 0.01  # of brightness: a plain picture has no contrast to be compared
GAINS = (0.8, 1.25)  # of contrast and of colour, from a picture to its copy
FEW_PIXELS, SMOOTHED_OF_FEW = 48, 32  # along the shorter side; and how often such a picture is smoothed
ENOUGH = 0.9  # by which a picture agrees in one way to lay it over the other, so that none else is tried
UNLIKE = 0.36  # mean difference over a window at which nothing agrees
DIFFERENT = 0.06  # the same from which on a window is another
COLOURS_SMOOTHED = 4  # times
SMOOTHED = (2, 6)  # how often one of the two is smoothed, where it is the sharper one


def agreement(picture: np.ndarray, original: np.ndarray, pixels: int = FEW_PIXELS) -> float:
    """How much of what two thumbnails uint8[SIDE, SIDE, 3] show where they overlap is the same, 0 … 1.

    `pixels` has the picture along its shorter side. Of one that has few a JPEG spoils what a thumbnail shows, so it is compared
    without fine detail too. The same thumbnail agrees, however little it shows.
    """
    if np.array_equal(picture, original):
        return 1.0
    one, other = (image.astype(np.float32) / 255 for image in (picture, original))
    if pixels >= FEW_PIXELS:
        return _best(one, other)
    without = (np.moveaxis(_smoothed(np.moveaxis(image, 2, 0), SMOOTHED_OF_FEW), 0, 2) for image in (one, other))
    return max(_best(one, other), _best(*without))


def _best(one: np.ndarray, other: np.ndarray) -> float:
    """The same of float32[SIDE, SIDE, 3], 0 … 1, in the way to lay them over each other in which most agrees."""
    best, planes = 0.0, _planes(one)
    for overlay in overlays(one, other):
        best = max(best, _agreeing(planes, overlay))
        if best >= ENOUGH:
            break
    return best


def _agreeing(one: np.ndarray, overlay: Overlay) -> float:
    """The same of planes float32[3, SIDE, SIDE] and another picture laid over them."""
    mask = np.outer(*(_within(shows) for shows in (overlay.rows, overlay.columns)))
    if not mask.any():
        return 0.0
    other, middle = _planes(overlay.shown), np.ix_(*(_middle(shows) for shows in (overlay.rows, overlay.columns)))
    unmarked = np.zeros_like(mask)
    unmarked[middle] = mask[middle]
    best = 0.0
    for alike in (mask, unmarked):  # a mark changes the brightness of the whole, and the middle alone says less
        best = max(best, _agreeing_as_fitted(*_as_sharp(one, other, alike), mask, middle))
        if best >= ENOUGH:
            break
    return best


def _agreeing_as_fitted(one: np.ndarray, other: np.ndarray, mask: np.ndarray, middle: tuple[np.ndarray, ...]) -> float:
    apart = _windows(_apart(one, other) * mask, WINDOW) / WINDOW**2
    unlike = 1 - apart[middle].max() / UNLIKE
    elsewhere = 1 - 2 * (apart > DIFFERENT).sum() / mask.sum()
    return round(float(max(0, min(_same_structure(one[0], other[0], mask, middle), unlike, elsewhere))), 3)


def _planes(image: np.ndarray) -> np.ndarray:
    """Brightness, and red and blue less that, as coarse as JPEG and small squares keep colours: float32[3, SIDE, SIDE]."""
    grey = image @ LUMA
    colours = _smoothed(np.stack([image[..., 0] - grey, image[..., 2] - grey]), COLOURS_SMOOTHED)
    return np.concatenate([grey[None], colours])


def _as_sharp(one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures with as much contrast, colour and sharpness as they have in common, where `mask` is 1."""
    pairs = [(one, other), *((_smoothed(one, times), other) for times in SMOOTHED)]
    pairs += [(one, _smoothed(other, times)) for times in SMOOTHED]
    fitted = [(left, _fitted(left, right, mask)) for left, right in pairs]
    return min(fitted, key=lambda pair: float((((pair[0] - pair[1]) * mask) ** 2).sum()))


def _fitted(one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The other picture with the brightness, contrast and strength of colours of one; with its colours too if one is grey."""
    count = mask.sum()
    means = [(each[0] * mask).sum() / count for each in (one, other)]
    spreads = [np.sqrt((((each[0] - mean) * mask) ** 2).sum() / count) for each, mean in zip((one, other), means, strict=True)]
    contrast = (spreads[0] + LEAST_SPREAD) / (spreads[1] + LEAST_SPREAD)
    colours = [np.sqrt(((each[1:] * mask) ** 2).sum() / count) for each in (one, other)]
    grey = (other[:1] - means[1]) * np.clip(contrast, *GAINS) + means[0]
    coloured = one[1:] if min(colours) < GREY else other[1:] * np.clip(colours[0] / colours[1], *GAINS)
    return np.concatenate([grey, coloured])


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far two pictures are from what the other has around each pixel, of the plane that is farthest: float32[SIDE, SIDE]."""
    apart = np.zeros(one.shape[1:], np.float32)
    for left, right in ((one, other), (other, one)):
        low, high = -_highest(-right), _highest(right)
        apart = np.maximum(apart, np.maximum(left - high, low - left).max(axis=0))
    return apart


def _highest(planes: np.ndarray) -> np.ndarray:
    """The highest of the pixels around each and itself."""
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    highest: np.ndarray = np.maximum(np.maximum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])
    return highest


def _same_structure(one: np.ndarray, other: np.ndarray, mask: np.ndarray, middle: tuple[np.ndarray, ...]) -> float:
    """The weighted share of windows in which two grey pictures look alike: of all, or of the middle if that is less."""
    count = np.maximum(_windows(mask, STRUCTURE_WINDOW), 1)
    left, right = one * mask, other * mask
    left_mean, right_mean = (_windows(each, STRUCTURE_WINDOW) / count for each in (left, right))
    left_variance = np.maximum(0, _windows(left**2, STRUCTURE_WINDOW) / count - left_mean**2) * mask
    right_variance = np.maximum(0, _windows(right**2, STRUCTURE_WINDOW) / count - right_mean**2) * mask
    covariance = _windows(left * right, STRUCTURE_WINDOW) / count - left_mean * right_mean
    alike = (2 * covariance + NOISE) / (left_variance + right_variance + NOISE) > ALIKE
    weight = mask * np.sqrt(np.minimum(np.maximum(left_variance, right_variance), STRONGEST))
    unlike = weight * ~alike
    in_middle = 1 - unlike[middle].sum() / max(weight[middle].sum(), LEAST_STRUCTURE / 4)
    return float(min((weight - unlike).sum() / max(weight.sum(), LEAST_STRUCTURE), in_middle))


def _within(shows: np.ndarray) -> np.ndarray:
    """Where an axis shows something, but for the two pixels beside where it does not: what is between belongs to neither."""
    padded = np.pad(shows, 2, mode="edge")
    within: np.ndarray = np.minimum.reduce([padded[start : start + SIDE] for start in range(5)])
    return within


def _middle(shows: np.ndarray) -> np.ndarray:
    """The middle half of the pixels of an axis that show something."""
    shown = np.flatnonzero(shows)
    return shown[len(shown) // 4 : len(shown) - len(shown) // 4]


def _windows(values: np.ndarray, window: int) -> np.ndarray:
    """The sums of values float32[SIDE, SIDE] over the window around each, of those there are."""
    for _ in range(2):
        sums = np.cumsum(np.pad(values, ((window // 2 + 1, window // 2), (0, 0))), axis=0, dtype=np.float64)
        values = (sums[window:] - sums[:-window]).T
    return values


def _smoothed(planes: np.ndarray, times: int) -> np.ndarray:
    """Planes float32[P, SIDE, SIDE], each pixel `times` averaged with those beside it."""
    weights = _smoothing(times)
    smoothed: np.ndarray = weights @ planes @ weights.T
    return smoothed


@lru_cache(8)
def _smoothing(times: int) -> np.ndarray:
    padded = np.pad(np.eye(SIDE), ((1, 1), (0, 0)), mode="edge")
    once = padded[:-2] / 4 + padded[1:-1] / 2 + padded[2:] / 4
    return np.linalg.matrix_power(once, times).astype(np.float32)
