"""RGB pictures at another size: by `_resize.c` where that was compiled, otherwise by NumPy, slower, to the same bytes."""

from __future__ import annotations

import numpy as np

try:
    import _pairmill_resize as compiled
except ImportError:  # installed where there is no C compiler
    compiled = None

__all__ = ["compiled", "resized", "resized_by_numpy"]

PLACES = 14  # binary places of a weight
TOGETHER = 64  # bytes at a time, where the processor can


def resized(pixels: np.ndarray, size: tuple[int, int], *, cubic: bool) -> np.ndarray:
    """uint8[H, W, 3] at another (width, height): uint8[height, width, 3].

    `cubic` is Catmull-Rom, stretched where the picture shrinks so that every pixel counts; otherwise each new pixel is the
    average of those whose centres it covers.
    """
    if compiled is None:
        return resized_by_numpy(pixels, size, cubic=cubic)
    (wide, tall), (height, width, _) = size, pixels.shape
    made = np.empty((tall, wide, 3), np.uint8)
    compiled.resize(np.ascontiguousarray(pixels), height, width, made, tall, wide, cubic, TOGETHER)
    return made


def resized_by_numpy(pixels: np.ndarray, size: tuple[int, int], *, cubic: bool) -> np.ndarray:
    """The same as `resized`, in NumPy."""
    rows = _filtered(pixels, size[1], cubic=cubic)
    return _filtered(rows.transpose(1, 0, 2), size[0], cubic=cubic).transpose(1, 0, 2)


def _filtered(pixels: np.ndarray, after: int, *, cubic: bool) -> np.ndarray:
    """uint8[N, M, 3] → uint8[after, M, 3]."""
    first, weights = _axis(len(pixels), after, cubic=cubic)
    sums = np.full((after, *pixels.shape[1:]), 1 << PLACES - 1, np.int32)
    for tap, weight in enumerate(weights.T):
        sums += weight[:, None, None] * pixels[np.minimum(first + tap, len(pixels) - 1)]
    return (sums >> PLACES).clip(0, 255).astype(np.uint8)


def _axis(before: int, after: int, *, cubic: bool) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of an axis the first one before that it covers, int64[after], and weights from there on, int32[after, T].

    The weights of a pixel add up to one exactly: what rounding leaves over goes to the next weight.
    """
    ratio = before / after
    stretch = max(ratio, 1.0)
    reach = (2.0 if cubic else 0.5) * stretch
    centre = (np.arange(after) + 0.5) * ratio
    first = np.maximum(centre - reach + 0.5, 0.0).astype(np.int64)
    last = np.minimum((centre + reach + 0.5).astype(np.int64), before)
    at = first[:, None] + np.arange((last - first).max())
    x = (at - centre[:, None] + 0.5) / stretch
    raw = _catmull_rom(x) if cubic else ((x > -0.5) & (x <= 0.5)).astype(np.float64)
    raw[at >= last[:, None]] = 0.0
    reached = np.cumsum(raw * ((1 << PLACES) / np.cumsum(raw, axis=1)[:, -1:]), axis=1)
    return first, np.diff(np.rint(reached), axis=1, prepend=0).astype(np.int32)


def _catmull_rom(x: np.ndarray) -> np.ndarray:
    """Source: Keys, Cubic convolution interpolation for digital image processing (1981), a = -1/2."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
