"""Images as they are stored: decoded, turned upright, resized, hashed and encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from filters.duplicates.hashes import PICTURE_HASH
from pipelines.images.decode import SIDEWAYS, decode, turn_of
from pipelines.images.identify import FORMATS, Picture
from pipelines.images.resize import resized
from pipelines.images.settings import ImageSettings

SIDE = PICTURE_HASH.side
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)

Each = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Stored:
    """A sound picture: what to store, and what is known of the original. width and height are of the original, upright."""

    data: bytes
    ending: str
    mime: str
    sha256: str
    phash: int
    width: int
    height: int


def prepare(picture: Picture, settings: ImageSettings) -> Stored:
    """Decodes, resizes and hashes a picture; raises Unfit with the error class."""
    (found,) = prepare_all([picture], settings)
    if isinstance(found, Exception):
        raise found
    return found


def prepare_all(pictures: Sequence[Picture], settings: ImageSettings, each: Each = map) -> list[Stored | Exception]:
    """The same for several, in their order, and whatever one raises in its place; faster than one after the other.

    `each` does a function on each of several things as `map` does, possibly in threads.
    """
    shrunk = list(each(partial(_shrunk_or_error, settings), pictures))
    squares = [one.square for one in shrunk if isinstance(one, _Shrunk)]
    hashes = iter(PICTURE_HASH.of(np.stack(squares) @ LUMA).tolist() if squares else [])
    return [
        one
        if isinstance(one, Exception)
        else Stored(
            data=one.data,
            ending=FORMATS[picture.kind] if settings.resize == "keep" else "jpg",
            mime=f"image/{picture.kind.lower()}",  # as Pillow names them, once it has loaded what reads them
            sha256=picture.sha256,
            phash=next(hashes),
            width=one.width,
            height=one.height,
        )
        for picture, one in zip(pictures, shrunk, strict=True)
    ]


@dataclass(frozen=True)
class _Shrunk:
    """What to store of a picture, the square that its hash is of (uint8[SIDE, SIDE, 3]), and its upright size before."""

    data: bytes
    square: np.ndarray
    width: int
    height: int


def _shrunk_or_error(settings: ImageSettings, picture: Picture) -> _Shrunk | Exception:
    try:
        return _shrunk(picture, settings)
    except Exception as error:
        return error


def _shrunk(picture: Picture, settings: ImageSettings) -> _Shrunk:
    wanted = target_size(picture.width, picture.height, settings) if settings.resize != "keep" else (1, 1)
    # The perceptual hash wants more pixels than it averages, however small the stored picture.
    needed = max(wanted[0], 2 * SIDE), max(wanted[1], 2 * SIDE)
    pixels, turn = decode(picture, needed), turn_of(picture.image)
    if turn is not None:
        pixels = np.asarray(Image.fromarray(pixels).transpose(turn))
    width, height = (picture.height, picture.width) if turn in SIDEWAYS else (picture.width, picture.height)
    data = picture.body
    if settings.resize != "keep":
        size = wanted[::-1] if turn in SIDEWAYS else wanted
        small = pixels if pixels.shape[1::-1] == size else resized(pixels, size, cubic=True)
        data = _encode(small, settings)
        pixels = small if min(size) >= 2 * SIDE else pixels
    return _Shrunk(data, resized(pixels, (SIDE, SIDE), cubic=False), width, height)


def target_size(width: int, height: int, settings: ImageSettings) -> tuple[int, int]:
    """The size to scale to: the shorter or longer side at `size`, the ratio kept, never larger than the original."""
    side = min(width, height) if settings.resize in ("shorter_side", "centre_crop") else max(width, height)
    scale = min(1.0, settings.size / side) if settings.resize != "keep" else 1.0
    return max(1, round(width * scale)), max(1, round(height * scale))


def _encode(pixels: np.ndarray, settings: ImageSettings) -> bytes:
    """uint8[H, W, 3] as JPEG, cut or laid on white to a square where that is asked for."""
    size = pixels.shape[1::-1]
    if settings.resize == "centre_crop":
        side = min(size)
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    elif settings.resize == "border":
        page = np.full((settings.size, settings.size, 3), 255, np.uint8)
        left, top = (settings.size - size[0]) // 2, (settings.size - size[1]) // 2
        page[top : top + size[1], left : left + size[0]] = pixels
        pixels = page
    made: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), settings.quality, colorsubsampling="420")
    return made
