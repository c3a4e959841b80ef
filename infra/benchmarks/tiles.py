"""Pictures of 2 000 pixels decoded and cut into tiles of 448, beside Pillow's way, in CPU seconds of one core.

    up_to_<n>  at most n tiles and a thumbnail: ms a picture, ours and Pillow's, and how many times as fast ours is

Pillow's way is that of the released code of InternVL: decode whole, resize to the grid, crop, and resize again for the thumbnail.
Pictures are of three shapes, and have the entropy of photographs. Medians of turns; `--rows` is the number of pictures.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from infra.benchmarks.tools.photographs import photograph
from trainer_bridge.data.instructions.tiles import TileRule, decode_tiles

PICTURES, TURNS, SIDE = 6, 5, 2000
SHAPES = ((1.0, 1.0), (1.0, 0.75), (0.5, 1.0))
MOST = (1, 2, 4, 6, 9, 12)


def measure(rows: int) -> dict[str, Any]:
    """The figures of the docstring."""
    torch.set_num_threads(1)
    pictures = [_shaped(photograph(seed, SIDE), SHAPES[seed % len(SHAPES)]) for seed in range(rows or PICTURES)]
    figures: dict[str, Any] = {"pictures": len(pictures)}
    for most in MOST:
        rule = TileRule(448, 1, most)
        turns = [(_seconds(decode_tiles, pictures, rule), _seconds(_by_pillow, pictures, rule)) for _ in range(TURNS)]
        ours, pillows = (statistics.median(column) * 1000 / len(pictures) for column in zip(*turns, strict=True))
        figures[f"up_to_{most}"] = {"ms": round(ours, 2), "pillow_ms": round(pillows, 2), "times": round(pillows / ours, 2)}
    return figures


def _seconds(cut: Callable[[bytes, TileRule], np.ndarray], pictures: list[bytes], rule: TileRule) -> float:
    started = time.process_time()
    for data in pictures:
        cut(data, rule)
    return time.process_time() - started


def _by_pillow(data: bytes, rule: TileRule) -> np.ndarray:
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    (columns, rows), side = rule.grid(*picture.size), rule.side
    resized = picture.resize((columns * side, rows * side), Image.Resampling.BICUBIC)
    places = [(column * side, row * side) for row in range(rows) for column in range(columns)]
    tiles = [resized.crop((left, top, left + side, top + side)) for left, top in places]
    if len(tiles) > 1:
        tiles.append(picture.resize((side, side), Image.Resampling.BICUBIC))
    return np.stack([np.asarray(tile).transpose(2, 0, 1) for tile in tiles])


def _shaped(data: bytes, shares: tuple[float, float]) -> bytes:
    """The upper left part of a picture."""
    picture, sink = Image.open(io.BytesIO(data)), io.BytesIO()
    size = (round(picture.width * shares[0]), round(picture.height * shares[1]))
    picture.crop((0, 0, *size)).save(sink, "JPEG", quality=85)
    return sink.getvalue()
