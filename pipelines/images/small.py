"""Pictures as small squares, by which copies are compared: squares of 64 pixels where no hash says that they are, and looks of
32 where one does.

Both are kept packed, as JPEG does: brightness of every pixel, colour of every block of 4 x 4 (of a look 2 x 2); 4.6 and 1.5 kB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filters.duplicates.alignment import LUMA, SIDE
from sharding.resize import resized

COARSE, LOOK_COARSE = 4, 2  # pixels of a block of one colour
LOOK = 32  # pixels along an axis of a look
PACKED, PACKED_LOOK = (side * side + 2 * (side // coarse) ** 2 for side, coarse in ((SIDE, COARSE), (LOOK, LOOK_COARSE)))  # bytes


def small_square(pixels: np.ndarray) -> np.ndarray:
    """Pixels uint8[H, W, 3] squeezed into uint8[SIDE, SIDE, 3]."""
    return resized(pixels, (SIDE, SIDE), cubic=True)


def look(square: np.ndarray) -> np.ndarray:
    """The look of a square uint8[SIDE, SIDE, 3]: uint8[PACKED_LOOK]."""
    return packed(resized(square, (LOOK, LOOK), cubic=False), LOOK_COARSE)


def look_square(values: np.ndarray) -> np.ndarray:
    """A look uint8[PACKED_LOOK] as a square, uint8[SIDE, SIDE, 3]."""
    return unpacked(values, LOOK, LOOK_COARSE)


def packed(square: np.ndarray, coarse: int = COARSE) -> np.ndarray:
    """A square uint8[S, S, 3] as bytes, uint8[S * S + 2 * (S / coarse)²]: grey, then red less grey and blue less grey, halved."""
    side, grey = len(square), square.astype(np.float32) @ LUMA
    coloured = (square[..., ::2] - grey[..., None]).reshape(side // coarse, coarse, side // coarse, coarse, 2).mean(axis=(1, 3))
    values = np.concatenate([grey.ravel(), (coloured / 2 + 128).transpose(2, 0, 1).ravel()])
    levels: np.ndarray = np.rint(values).clip(0, 255).astype(np.uint8)
    return levels


def unpacked(values: np.ndarray, side: int = SIDE, coarse: int = COARSE) -> np.ndarray:
    """The square uint8[SIDE, SIDE, 3] of the bytes of one of `side` pixels, but for rounding and fine colour."""
    grey, *colours = values[: side * side], *values[side * side :].reshape(2, -1)
    fine = _enlarged([grey.reshape(side, side)])[..., :1]
    red, blue = (2 * (_enlarged([each.reshape(side // coarse, -1) for each in colours])[..., :2] - 128) + fine).transpose(2, 0, 1)
    green = (fine[..., 0] - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    square: np.ndarray = np.rint(np.stack([red, green, blue], axis=-1)).clip(0, 255).astype(np.uint8)
    return square


def _enlarged(planes: Sequence[np.ndarray]) -> np.ndarray:
    """Up to three planes uint8[S, S] as float32[SIDE, SIDE, 3], the last one repeated."""
    stacked = np.stack([*planes, *[planes[-1]] * (3 - len(planes))], axis=-1)
    return (resized(stacked, (SIDE, SIDE), cubic=True) if len(stacked) < SIDE else stacked).astype(np.float32)
