"""PDQ: a 256-bit perceptual hash of a picture's looks, with a quality.

The luminance is smoothed by two passes of a box along each axis (a tent), sampled at 64 × 64 points, and of its cosine transform
the 16 × 16 lowest frequencies without the constant ones are compared with their median. The trick: all up to the median is
linear and separable, so that two small matrices, made once for each length of an axis, do it.

Two pictures within 31 bits are copies of each other, its authors say; a quality below 50 means that a picture is too flat for its
hash to tell it from others. Source: Facebook, The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm (2019),
and the reference implementation, github.com/facebook/ThreatExchange/tree/main/pdq.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

BYTES = 32
SAMPLES, LOW = 64, 16  # points along an axis, and frequencies
LEAST_SIDE = 5  # pixels; a smaller picture has no hash
PASSES = 2
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)
QUALITY_SCALE = 90  # gradients, in hundredths of the range, for a quality of 1


def pdq(luma: np.ndarray, side: int = 0) -> tuple[bytes, int]:
    """The hash, 32 bytes whose hex is as published, and quality 0 … 100 of luma[H, W] in 0 … 255 (any real dtype).

    `side` pixels: as if each axis had so many, by repeating pixels; 0 for as many as it has.
    """
    if min(luma.shape) < LEAST_SIDE:
        return bytes(BYTES), 0
    down, across = (_samples(length, side or length) for length in luma.shape)
    samples = down @ luma.astype(np.float32, copy=False) @ across.T
    frequencies = (COSINES @ samples @ COSINES.T).ravel()
    bits = frequencies > np.partition(frequencies, LOW * LOW // 2 - 1)[LOW * LOW // 2 - 1]
    return np.packbits(bits[::-1]).tobytes(), _quality(samples)


def _quality(samples: np.ndarray) -> int:
    gradients = (np.abs(np.diff(samples, axis=axis)) * np.float32(100 / 255) for axis in (0, 1))
    total = sum(
        int(gradient.astype(np.int32).sum()) for gradient in gradients
    )  # each rounded down, so that noise counts for nothing
    return min(100, total // QUALITY_SCALE)


@lru_cache(1024)
def _samples(length: int, side: int) -> np.ndarray:
    """What smoothing and sampling does along an axis of `length` pixels, repeated to `side`: float32[64, length]."""
    smooth = np.linalg.matrix_power(_box(side), PASSES)
    samples: np.ndarray = smooth[((np.arange(SAMPLES) + 0.5) * side / SAMPLES).astype(int)]
    repeated = np.arange(side)[:, None] * length // side == np.arange(length)
    return np.asarray(samples @ repeated, np.float32)


def _box(length: int) -> np.ndarray:
    """One pass of the box: each pixel is the mean of those around it, fewer at the ends; float64[length, length]."""
    window = -(-length // (2 * SAMPLES))
    right = (window + 2) // 2  # the pixel itself and those behind it
    offset = np.arange(length)[None] - np.arange(length)[:, None]
    covers = (offset < right) & (offset >= right - window)
    box: np.ndarray = covers / covers.sum(axis=1, keepdims=True)
    return box


def _cosines() -> np.ndarray:
    k, n = np.arange(1, LOW + 1)[:, None], np.arange(SAMPLES)[None]
    cosines: np.ndarray = np.sqrt(2 / SAMPLES) * np.cos(np.pi * k * (2 * n + 1) / (2 * SAMPLES))
    return cosines.astype(np.float32)


COSINES = _cosines()
