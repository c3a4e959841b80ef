"""Resizes RGB images: by `_resize.c` where that was compiled, otherwise by NumPy, slower, to the same bytes.

Each pixel of the result is a weighted sum of pixels of the original, first along the height, then along the width (the filter is
separable). The weights are integers of 14 binary places that add up to exactly one, and between the two passes values are
rounded to 8 bits, so that every processor and both implementations give the same bytes. Pillow's resizer was not enough: it
takes ten times as long, longer than decoding the JPEG.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

try:
    import _pairmill_resize as compiled
except ImportError:  # installed where there is no C compiler
    compiled = None

__all__ = ["compiled", "cropped", "cropped_by_numpy", "resized", "resized_by_numpy"]

Filter = Literal["average", "cubic", "triangle"]

PLACES = 14  # binary places of a weight
REACH: dict[Filter, float] = {
    "average": 0.5,
    "cubic": 2.0,
    "triangle": 1.0,
}  # old pixels on each side, where the image does not shrink
VECTOR_BYTES = 64  # the widest vectors to use: AVX-512, where the processor has it


def resized(pixels: np.ndarray, size: tuple[int, int], *, cubic: bool) -> np.ndarray:
    """Pixels uint8[H, W, 3] resized to (width, height): uint8[height, width, 3].

    `cubic` is the Catmull-Rom filter, widened where the image shrinks so that every pixel counts; otherwise each new pixel is the
    average of those whose centres it covers.
    """
    if compiled is None:
        return resized_by_numpy(pixels, size, cubic=cubic)
    (new_width, new_height), (height, width, _) = size, pixels.shape
    result = np.empty((new_height, new_width, 3), np.uint8)
    compiled.resize(np.ascontiguousarray(pixels), height, width, result, new_height, new_width, cubic, VECTOR_BYTES)
    return result


def resized_by_numpy(pixels: np.ndarray, size: tuple[int, int], *, cubic: bool) -> np.ndarray:
    """The same as `resized`, in NumPy."""
    return _resized(pixels, size, "cubic" if cubic else "average")


def cropped(
    pixels: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int], out: np.ndarray | None = None
) -> np.ndarray:
    """The box (left, top, right, bottom) of pixels uint8[H, W, 3] resized to (width, height): uint8[height, width, 3].

    By triangles (bilinear), widened where the box shrinks; pixels outside of the box count for nothing. The result is written to
    `out` and is it, where that is such an array, contiguous.
    """
    if compiled is None or not hasattr(compiled, "crop"):  # an editable installation compiled before there was a crop
        return cropped_by_numpy(pixels, box, size)
    (new_width, new_height), (height, width, _) = size, pixels.shape
    fits = out is not None and out.shape == (new_height, new_width, 3) and out.dtype == np.uint8 and out.flags.c_contiguous
    result = out if fits and out is not None else np.empty((new_height, new_width, 3), np.uint8)
    compiled.crop(np.ascontiguousarray(pixels), height, width, box, result, new_height, new_width, VECTOR_BYTES)
    return result


def cropped_by_numpy(pixels: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """The same as `cropped`, in NumPy."""
    left, top, right, bottom = box
    return _resized(pixels[top:bottom, left:right], size, "triangle")


def _resized(pixels: np.ndarray, size: tuple[int, int], filter: Filter) -> np.ndarray:
    rows = _resized_rows(pixels, size[1], filter)
    return _resized_rows(rows.transpose(1, 0, 2), size[0], filter).transpose(1, 0, 2)


def _resized_rows(pixels: np.ndarray, new_length: int, filter: Filter) -> np.ndarray:
    """uint8[N, M, 3] → uint8[new_length, M, 3]."""
    first, weights = _weights(len(pixels), new_length, filter)
    sums = np.full((new_length, *pixels.shape[1:]), 1 << PLACES - 1, np.int32)
    for tap, weight in enumerate(weights.T):
        sums += weight[:, None, None] * pixels[np.minimum(first + tap, len(pixels) - 1)]
    return (sums >> PLACES).clip(0, 255).astype(np.uint8)


def _weights(length: int, new_length: int, filter: Filter) -> tuple[np.ndarray, np.ndarray]:
    """For each new pixel of an axis the first old one it covers, int64[new_length], and T weights from there on, int32[.., T].

    The weights of a pixel add up to exactly 1 << PLACES: the running sum is rounded, so an error of rounding goes to the next
    weight.
    """
    ratio = length / new_length
    stretch = max(ratio, 1.0)
    reach = REACH[filter] * stretch
    centre = (np.arange(new_length) + 0.5) * ratio
    first = np.maximum(centre - reach + 0.5, 0.0).astype(np.int64)
    last = np.minimum((centre + reach + 0.5).astype(np.int64), length)
    at = first[:, None] + np.arange((last - first).max())
    x = (at - centre[:, None] + 0.5) / stretch
    raw = KERNELS[filter](x)
    raw[at >= last[:, None]] = 0.0
    running = np.cumsum(raw * ((1 << PLACES) / np.cumsum(raw, axis=1)[:, -1:]), axis=1)
    return first, np.diff(np.rint(running), axis=1, prepend=0).astype(np.int32)


def _catmull_rom(x: np.ndarray) -> np.ndarray:
    """The Catmull-Rom kernel. Source: Keys, Cubic convolution interpolation for digital image processing (1981), a = -1/2."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


KERNELS: dict[Filter, Callable[[np.ndarray], np.ndarray]] = {
    "average": lambda x: ((x > -0.5) & (x <= 0.5)).astype(np.float64),
    "cubic": _catmull_rom,
    "triangle": lambda x: (1.0 - np.abs(x)).clip(min=0.0),
}
