"""PDQ: a 256-bit perceptual hash of a picture's looks, with a quality.

The luminance is smoothed by two passes of a box along each axis (a tent), sampled at 64 × 64 points, and of its cosine transform
the 16 × 16 lowest frequencies without the constant ones are compared with their median. The trick: all up to the median is
linear and separable, so that a sample is a weighted sum of the few pixels around it, and the weights are made once for each
length of an axis.

`_pdq.c` does it where it was compiled; NumPy gives the same, slower. Both add in one order, so that every processor gives the
same bits; a library of linear algebra does not, and starts threads for matrices so small.

Two pictures within 31 bits are copies of each other, its authors say; a quality below 50 means that a picture is too flat for its
hash to tell it from others. Source: Facebook, The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm (2019),
and the reference implementation, github.com/facebook/ThreatExchange/tree/main/pdq.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

try:
    import _pairmill_pdq as compiled
except ImportError:  # installed where there is no C compiler
    compiled = None

BYTES = 32
SAMPLES, LOW = 64, 16  # points along an axis, and frequencies
LEAST_SIDE = 5  # pixels; a smaller picture has no hash
PASSES = 2
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)
QUALITY_SCALE = 90  # gradients, in hundredths of the range, for a quality of 1


class Axis(NamedTuple):
    """For each of N new rows the first old one that it covers, int32[N], and the weights of T old ones, float32[N, T]."""

    first: np.ndarray
    weights: np.ndarray


def pdq(pixels: np.ndarray, side: int = 0) -> tuple[bytes, int]:
    """The hash, 32 bytes whose hex is as published, and quality 0 … 100 of RGB uint8[H, W, 3].

    `side` pixels: as if each axis had so many, by repeating pixels; 0 for as many as it has.
    """
    if compiled is None:
        return pdq_by_numpy(pixels, side)
    height, width, _ = pixels.shape
    if min(height, width) < LEAST_SIDE:
        return bytes(BYTES), 0
    axes = _axis(height, side or height), _axis(width, side or width)
    digest: tuple[bytes, int] = compiled.pdq(np.ascontiguousarray(pixels), height, width, *axes, COSINES)
    return digest


def pdq_by_numpy(pixels: np.ndarray, side: int = 0) -> tuple[bytes, int]:
    """The same as `pdq`, in NumPy."""
    height, width, _ = pixels.shape
    if min(height, width) < LEAST_SIDE:
        return bytes(BYTES), 0
    red, green, blue = (weight * pixels[..., colour].astype(np.float32) for colour, weight in enumerate(LUMA))
    rows = _weighted_rows(_axis(height, side or height), red + green + blue)
    samples = _weighted_rows(_axis(width, side or width), rows.T)
    frequencies = _weighted_rows(COSINES, _weighted_rows(COSINES, samples).T).ravel()
    bits = frequencies > np.partition(frequencies, LOW * LOW // 2 - 1)[LOW * LOW // 2 - 1]
    return np.packbits(bits[::-1]).tobytes(), _quality(samples)


def _weighted_rows(axis: Axis, values: np.ndarray) -> np.ndarray:
    """float32[M, X] → float32[N, X]."""
    sums = np.zeros((len(axis.first), values.shape[1]), np.float32)
    for tap, weights in enumerate(axis.weights.T):
        sums += weights[:, None] * values[axis.first + tap]
    return sums


def _quality(samples: np.ndarray) -> int:
    gradients = (np.abs(np.diff(samples, axis=axis)) * np.float32(100 / 255) for axis in (0, 1))
    total = sum(
        int(gradient.astype(np.int32).sum()) for gradient in gradients
    )  # each rounded down, so that noise counts for nothing
    return min(100, total // QUALITY_SCALE)


@lru_cache(1024)
def _axis(length: int, side: int) -> Axis:
    """What smoothing and sampling does along an axis of `length` pixels, repeated to `side`: N = 64."""
    # The repeats of a pixel lie side by side; of more pixels than `side` some have none.
    starts = -(-np.arange(length + 1) * side // length)
    sums = np.add.reduceat(_smoothed(side), np.minimum(starts[:-1], side - 1), axis=1)
    samples = (sums * (np.diff(starts) > 0)).astype(np.float32)
    covered = samples != 0
    first, last = covered.argmax(axis=1), length - covered[:, ::-1].argmax(axis=1)
    taps = int((last - first).max())
    first = np.minimum(first, length - taps)
    return Axis(first.astype(np.int32), np.take_along_axis(samples, first[:, None] + np.arange(taps), axis=1))


@lru_cache(8)
def _smoothed(side: int) -> np.ndarray:
    """The same along an axis of `side` pixels, as a matrix: float64[64, side]."""
    smooth = np.linalg.matrix_power(_box(side), PASSES)
    samples: np.ndarray = smooth[((np.arange(SAMPLES) + 0.5) * side / SAMPLES).astype(int)]
    return samples


def _box(length: int) -> np.ndarray:
    """One pass of the box: each pixel is the mean of those around it, fewer at the ends; float64[length, length]."""
    window = -(-length // (2 * SAMPLES))
    right = (window + 2) // 2  # the pixel itself and those behind it
    offset = np.arange(length)[None] - np.arange(length)[:, None]
    covers = (offset < right) & (offset >= right - window)
    box: np.ndarray = covers / covers.sum(axis=1, keepdims=True)
    return box


def _cosines() -> Axis:
    k, n = np.arange(1, LOW + 1)[:, None], np.arange(SAMPLES)[None]
    cosines = np.sqrt(2 / SAMPLES) * np.cos(np.pi * k * (2 * n + 1) / (2 * SAMPLES))
    return Axis(np.zeros(LOW, np.int32), cosines.astype(np.float32))


COSINES = _cosines()
