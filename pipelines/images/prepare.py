"""Images as they are stored: decoded, turned upright, resized, hashed and encoded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from filters.duplicates.hashes import FETCHED_HASH
from filters.duplicates.pdq import LUMA
from pipelines.images.decode import decode
from pipelines.images.identify import FORMATS, IdentifiedImage, RejectedImage, open_image
from pipelines.images.jpeg_header import plain_header
from pipelines.images.pdq import pdq_of_pixels
from pipelines.images.settings import MAX_SIDE, ImageSettings
from sharding.decode import SIDEWAYS, upright_transpose
from sharding.resize import resized

SIDE = FETCHED_HASH.side
# Bytes that decoding takes for a pixel, at the peak: the decoder's own buffers, the image and its copies (measured, rounded up).
JPEG_COST, COST, TRANSPARENT_COST = 10, 20, 32
TILE_SIDES = (322, 323)  # TIFF's tags of a tile's width and height

Map = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True)
class StoredImage:
    """An image to store. sha256, width and height (upright) are of the original; phash and pdq are perceptual hashes, of 64 and
    256 bits, this in hex. PDQ and its quality are None where the settings have it off.
    """

    data: bytes
    extension: str
    mime: str
    sha256: str
    phash: int
    pdq: str | None
    pdq_quality: int | None
    width: int
    height: int


def prepare(image: IdentifiedImage, settings: ImageSettings) -> StoredImage:
    """Decodes, resizes and hashes an image; raises RejectedImage with the error class."""
    (result,) = prepare_all([image], settings)
    if isinstance(result, Exception):
        raise result
    return result


def prepare_all(images: Sequence[IdentifiedImage], settings: ImageSettings, mapped: Map = map) -> list[StoredImage | Exception]:
    """As `prepare`, for several at once, which is faster; an exception stands in the place of the image that raised it.

    `mapped` is `map`, or one that uses threads.
    """
    resized_images = list(mapped(partial(_resize_or_error, settings), images))
    squares = [result.square for result in resized_images if isinstance(result, _Resized)]
    hashes = iter(FETCHED_HASH.of(np.stack(squares) @ LUMA).tolist() if squares else [])
    return [
        result
        if isinstance(result, Exception)
        else StoredImage(
            data=result.data,
            extension=FORMATS[image.format] if settings.resize == "keep" else "jpg",
            mime=f"image/{image.format.lower()}",  # not Image.MIME, which Pillow fills as it loads each format's plugin
            sha256=image.sha256,
            phash=next(hashes),
            pdq=result.pdq.hex() if result.pdq else None,
            pdq_quality=result.pdq_quality,
            width=result.width,
            height=result.height,
        )
        for image, result in zip(images, resized_images, strict=True)
    ]


@dataclass(frozen=True)
class _Resized:
    """The bytes to store, the square that is hashed, uint8[SIDE, SIDE, 3], PDQ, and the upright size of the original."""

    data: bytes
    square: np.ndarray
    pdq: bytes | None
    pdq_quality: int | None
    width: int
    height: int


def _resize_or_error(settings: ImageSettings, image: IdentifiedImage) -> _Resized | Exception:
    try:
        return _resize(image, settings)
    except StopIteration as error:  # no future can hold one
        return RuntimeError(repr(error))
    except Exception as error:
        return error


def memory_needed(image: IdentifiedImage) -> int:
    """How many bytes decoding an image takes, at most."""
    return _memory(image.format, image.width, image.height, image.opened)


def memory_needed_by(body: bytes) -> int:
    """How many bytes decoding a picture takes, at most; 0 for one that cannot be opened."""
    header = plain_header(body)
    if header is not None:
        return _memory("JPEG", header.width, header.height, None)
    try:
        opened = open_image(body)
    except RejectedImage:
        return 0
    return _memory(opened.format or "", *opened.size, opened)


def _memory(format: str, width: int, height: int, opened: Image.Image | None) -> int:
    cost = COST
    if format == "JPEG" and (opened is None or opened.mode in ("RGB", "L")):
        cost = JPEG_COST
    elif opened is not None and (opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info):
        cost = TRANSPARENT_COST
    return max(width * height, _tile_pixels(opened)) * cost


def _tile_pixels(opened: Image.Image | None) -> int:
    """The pixels of a tile of a TIFF, which is decoded whole, however little of it the image shows."""
    tags = getattr(opened, "tag_v2", {})
    sides = [tags.get(tag) for tag in TILE_SIDES]
    return math.prod(side for side in sides if isinstance(side, int)) if all(sides) else 0


def _resize(image: IdentifiedImage, settings: ImageSettings) -> _Resized:
    if memory_needed(image) > settings.decode_memory:
        raise RejectedImage("too_many_pixels")
    target = target_size(image.width, image.height, settings) if settings.resize != "keep" else (1, 1)
    if max(target) > MAX_SIDE:
        raise RejectedImage("unsupported_image")
    # The perceptual hash needs more pixels than it averages, however small the stored image.
    needed = max(target[0], 2 * SIDE), max(target[1], 2 * SIDE)
    pixels, transpose = decode(image, needed), upright_transpose(image.opened)
    if transpose is not None:
        pixels = np.asarray(Image.fromarray(pixels).transpose(transpose))
    width, height = (image.height, image.width) if transpose in SIDEWAYS else (image.width, image.height)
    data = image.body
    if settings.resize != "keep":
        size = target[::-1] if transpose in SIDEWAYS else target
        small = pixels if pixels.shape[1::-1] == size else resized(pixels, size, cubic=True)
        data = _encode(small, settings)
        pixels = small if min(size) >= 2 * SIDE else pixels
    pdq, quality = pdq_of_pixels(pixels) if settings.pdq else (None, None)
    return _Resized(data, resized(pixels, (SIDE, SIDE), cubic=False), pdq, quality, width, height)


def target_size(width: int, height: int, settings: ImageSettings) -> tuple[int, int]:
    """(width, height) to scale to: the shorter or longer side at `size`, the ratio kept, never larger than the original."""
    side = min(width, height) if settings.resize in ("shorter_side", "centre_crop") else max(width, height)
    scale = min(1.0, settings.size / side) if settings.resize != "keep" else 1.0
    return max(1, round(width * scale)), max(1, round(height * scale))


def _encode(pixels: np.ndarray, settings: ImageSettings) -> bytes:
    """uint8[H, W, 3] as JPEG; for centre_crop cut to a square, for border centred on a white square."""
    size = pixels.shape[1::-1]
    if settings.resize == "centre_crop":
        side = min(size)
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    elif settings.resize == "border":
        square = np.full((settings.size, settings.size, 3), 255, np.uint8)
        left, top = (settings.size - size[0]) // 2, (settings.size - size[1]) // 2
        square[top : top + size[1], left : left + size[0]] = pixels
        pixels = square
    jpeg: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), settings.quality, colorsubsampling="420")
    return jpeg
