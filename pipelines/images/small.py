"""Pictures as the small squares by which copies are compared when no hash says that they are.

A square is kept packed, as JPEG does: brightness of every pixel, colour of every block of 4 x 4, in 4.6 kB.
"""

from __future__ import annotations

import numpy as np

from filters.duplicates.alignment import LUMA, SIDE
from sharding.resize import resized

COARSE = 4  # pixels of a block of one colour
PACKED = SIDE * SIDE + 2 * (SIDE // COARSE) ** 2  # bytes


def small_square(pixels: np.ndarray) -> np.ndarray:
    """Pixels uint8[H, W, 3] squeezed into uint8[SIDE, SIDE, 3]."""
    return resized(pixels, (SIDE, SIDE), cubic=True)


def packed(square: np.ndarray) -> np.ndarray:
    """A square as uint8[PACKED]: grey, then red less grey and blue less grey, halved."""
    grey = square.astype(np.float32) @ LUMA
    coloured = (square[..., ::2] - grey[..., None]).reshape(SIDE // COARSE, COARSE, SIDE // COARSE, COARSE, 2).mean(axis=(1, 3))
    values = np.concatenate([grey.ravel(), (coloured / 2 + 128).transpose(2, 0, 1).ravel()])
    levels: np.ndarray = np.rint(values).clip(0, 255).astype(np.uint8)
    return levels


def unpacked(values: np.ndarray) -> np.ndarray:
    """The square uint8[SIDE, SIDE, 3] of uint8[PACKED], but for rounding and fine colour."""
    grey = values[: SIDE * SIDE].reshape(SIDE, SIDE).astype(np.float32)
    coarse = (values[SIDE * SIDE :].reshape(2, SIDE // COARSE, SIDE // COARSE).astype(np.float32) - 128) * 2
    red, blue = grey + coarse.repeat(COARSE, axis=1).repeat(COARSE, axis=2)
    green = (grey - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    square: np.ndarray = np.rint(np.stack([red, green, blue], axis=-1)).clip(0, 255).astype(np.uint8)
    return square
