"""A picture → tiles of one size, by dynamic resolution: the grid nearest to its shape, and the whole picture small beside it.

Source: InternVL 1.5 §3.2 and its released loader.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional as F

from sharding.decode import decode_pixels


@dataclass(frozen=True)
class TileRule:
    """Into how many tiles pictures are cut: `least` to `most`, of `side` pixels; a thumbnail comes after more than one."""

    side: int = 448
    least: int = 1
    most: int = 12

    def grid(self, width: int, height: int) -> tuple[int, int]:
        """(columns, rows) for a picture."""
        return tile_grid(width, height, self.least, self.most, self.side)

    def count(self, width: int, height: int) -> int:
        """Tiles of a picture, the thumbnail included."""
        columns, rows = self.grid(width, height)
        return columns * rows + (columns * rows > 1)

    def shared(self, pictures: int) -> TileRule:
        """The rule for each of several pictures of a conversation: they share the tiles, and each has one at least."""
        most = max(1, self.most // max(1, pictures))
        return TileRule(self.side, min(self.least, most), most)


def tile_grid(width: int, height: int, least: int, most: int, side: int = 448) -> tuple[int, int]:
    """(columns, rows) of the grid of `least` … `most` tiles whose ratio is nearest to that of the picture.

    Of grids that are equally near the larger is taken where the picture has more than half its pixels.
    """
    ratio, pixels = width / height, width * height
    best, nearest = (1, 1), float("inf")
    for columns, rows in _grids(least, most):
        distance = abs(ratio - columns / rows)
        if distance < nearest or (distance == nearest and pixels > 0.5 * side * side * columns * rows):
            best, nearest = (columns, rows), distance
    return best


@lru_cache(64)
def _grids(least: int, most: int) -> tuple[tuple[int, int], ...]:
    """The grids of so many tiles, by their number and then by columns, as transformers orders them."""
    grids = [(columns, rows) for columns in range(1, most + 1) for rows in range(1, most // columns + 1)]
    return tuple(sorted((grid for grid in grids if grid[0] * grid[1] >= least), key=lambda grid: (grid[0] * grid[1], grid[0])))


def decode_tiles(data: bytes, rule: TileRule) -> np.ndarray:
    """The tiles of an encoded picture: uint8[K, 3, S, S] RGB, row by row, the thumbnail last; ValueError when it has none.

    A JPEG is decoded at the smallest scale that has the pixels of the grid.
    """
    chosen = (0, 0)

    def sides(size: tuple[int, int]) -> tuple[int, int]:
        nonlocal chosen
        chosen = rule.grid(*size)
        return chosen[0] * rule.side, chosen[1] * rule.side

    picture = decode_pixels(data, sides)
    return cut_tiles(picture, chosen if chosen[0] else rule.grid(*picture.shape[1::-1]), rule.side)


def cut_tiles(picture: np.ndarray, grid: tuple[int, int], side: int) -> np.ndarray:
    """The tiles of uint8[H, W, 3] resized to a grid (columns, rows), and the thumbnail: uint8[K, 3, S, S].

    Bicubic, its ratio not kept. torch resizes as Pillow does, to within two levels, several times as fast.
    """
    pixels = torch.from_numpy(picture if picture.flags.writeable else picture.copy()).permute(2, 0, 1)[None]
    columns, rows = grid
    tiles = _resized(pixels, rows * side, columns * side).reshape(3, rows, side, columns, side).permute(1, 3, 0, 2, 4)
    tiles = tiles.reshape(rows * columns, 3, side, side)
    cut: np.ndarray = (torch.cat([tiles, _resized(pixels, side, side)]) if rows * columns > 1 else tiles).numpy()
    return cut


def _resized(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    if pixels.shape[2:] == (height, width):
        return pixels
    return F.interpolate(pixels, (height, width), mode="bicubic", antialias=True)
