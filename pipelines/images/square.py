"""Pixels of any size → the square that a model looks at, as the libraries' own preprocessing makes it.

CLIPs resize the shorter side and crop the middle, or squeeze the whole picture. The pixels are those of torchvision's transforms
on Pillow's resizer but for rounding (one level of 255 at most), which no score shows in its third place, in an eighth of the
time. They stay 8-bit integers: a fourth of the bytes to move, and the model's device does the arithmetic on the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from sharding.decode import decode_picture, decode_pixels
from sharding.resize import resized

# A JPEG decoded at a scale of its DCT is resized from no less than so many times the side: then pixels differ from those of the
# whole picture by a third of a level on average, and by two at most; from once the side by 1.2 and by 8 (drawn photographs).
ROOM = 2
SHORTEST, SQUASH = "shortest", "squash"
BICUBIC, BILINEAR = "bicubic", "bilinear"


def upright_pixels(body: bytes, needed: int) -> np.ndarray:
    """A picture as models see it, upright and in sRGB, uint8[H, W, 3], not to be written to; a JPEG at the smallest scale of its
    DCT of which both sides are at least `needed` (0: whole). ValueError when it cannot be decoded.
    """
    try:
        return decode_pixels(body, needed or _whole)
    except ValueError:  # what the faster decoder of JPEGs rejects Pillow decides
        return np.asarray(decode_picture(body))


def _whole(size: tuple[int, int]) -> tuple[int, int]:
    return size


@dataclass(frozen=True)
class Square:
    """How a picture becomes `side` x `side` pixels.

    side    of the square
    shorter  what the shorter side is resized to, before the middle is cropped; 0: the whole picture is squeezed into the square
    filter  bicubic or bilinear
    """

    side: int
    shorter: int
    filter: str = BICUBIC

    @property
    def needed(self) -> int:
        """The sides that a picture needs before it is resized: JPEGs are decoded at a scale that leaves as much."""
        return ROOM * max(self.side, self.shorter)

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """The square of pixels uint8[H, W, 3]: uint8[side, side, 3]."""
        height, width, _ = pixels.shape
        size = _with_shorter_side(width, height, self.shorter) if self.shorter else (self.side, self.side)
        if size != (width, height):
            pixels = self._resized(pixels, size)
        left, top = round((size[0] - self.side) / 2), round((size[1] - self.side) / 2)
        return np.ascontiguousarray(pixels[top : top + self.side, left : left + self.side])

    def _resized(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if self.filter == BICUBIC:
            return resized(pixels, size, cubic=True)
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def _with_shorter_side(width: int, height: int, side: int) -> tuple[int, int]:
    """The size with the shorter side `side`; torchvision cuts off the fraction of the longer one."""
    return (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
