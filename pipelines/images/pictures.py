"""Is it a picture, whole and bearable? Then resized, hashed and ready to store. Type goes by content, never by header or name."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from filters.duplicates.hashes import SIDE, perceptual_hashes
from pipelines.images.jpeg_header import plain_size
from pipelines.images.resize import resized
from pipelines.recipe import FetchSettings

Image.MAX_IMAGE_PIXELS = None  # the cap is ours, and is checked before decoding
FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "AVIF": "avif"}
ORIENTATION = 0x0112
# The tag's value → what makes the picture upright (EXIF 2.32, table 6).
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = {TURNS[value] for value in (5, 6, 7, 8)}
SCALES = (8, 4, 2)  # of a JPEG's DCT: those that libjpeg-turbo has vector code for
FEW_PIXELS = 4_000_000
# Each scan of a progressive JPEG passes over all pixels, and may take no bytes to speak of; sound ones have ten or so.
START_OF_SCAN, MOST_SCANS = b"\xff\xda", 100
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)
HEIF_BRANDS = (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
with contextlib.suppress(ImportError):  # pip install pillow-heif, and pictures of phones are read too
    import pillow_heif

    pillow_heif.register_heif_opener()
    FORMATS["HEIF"] = "heic"

Each = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Picture:
    """Bytes that begin as a picture of a bearable size: its header is read, its pixels are not.

    kind    the format; a JPEG that holds further pictures, as phones write them, is a JPEG
    width, height  as stored, before it is turned upright
    image   as Pillow opened it; None for a plain JPEG, whose header says all there is to know
    """

    body: bytes
    sha256: str
    kind: str
    width: int
    height: int
    image: Image.Image | None

    @property
    def quick(self) -> bool:
        """Whether it is decoded in milliseconds, whoever made it."""
        return self.kind == "JPEG" and self.width * self.height <= FEW_PIXELS and not self.progressive

    @property
    def progressive(self) -> bool:
        """Whether it is a JPEG of many scans."""
        return self.image is not None and "progressive" in self.image.info


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


class Unfit(Exception):
    """The bytes are no picture to keep; `error` is the class."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)
KEPT = 32 << 20  # bytes


@lru_cache(1)
def keep_memory() -> None:
    """Has this process keep what pictures were decoded in: to get it anew from the system for each is a fifth of the work."""
    with contextlib.suppress(AttributeError, OSError):  # another C library has other ways
        for setting in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            ctypes.CDLL(None).mallopt(setting, KEPT)


def identify(body: bytes, settings: FetchSettings, expected: str | None = None) -> Picture:
    """What the bytes a URL gave begin as; nothing is decoded. Raises Unfit with the error class.

    `expected` is the md5 or sha256 in hex that the publisher gives of the original bytes.
    """
    sha256 = hashlib.sha256(body).hexdigest()
    if expected and settings.verify_hash and expected.lower() not in (sha256, _md5(body)):
        raise Unfit("hash_mismatch")
    size, image, kind = plain_size(body), None, "JPEG"
    if size is None:
        image = _opened(body)
        size, kind = image.size, "JPEG" if image.format == "MPO" else image.format or ""
    picture = Picture(body, sha256, kind, *size, image)
    if picture.width * picture.height > settings.max_pixels:
        raise Unfit("too_many_pixels")
    if picture.progressive and body.count(START_OF_SCAN) > MOST_SCANS:
        raise Unfit("too_many_scans")
    return picture


def _opened(body: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(body), formats=list(FORMATS))
    except Exception:  # whatever a parser says of bytes it does not know
        raise Unfit("unsupported_image" if body[4:8] == b"ftyp" and body[8:12] in HEIF_BRANDS else "not_an_image") from None


def prepare(picture: Picture, settings: FetchSettings) -> Stored:
    """Decodes, resizes and hashes a picture; raises Unfit with the error class."""
    (found,) = prepare_all([picture], settings)
    if isinstance(found, Exception):
        raise found
    return found


def prepare_all(pictures: Sequence[Picture], settings: FetchSettings, each: Each = map) -> list[Stored | Exception]:
    """The same for several, in their order, and whatever one raises in its place; faster than one after the other.

    `each` does a function on each of several things as `map` does, possibly in threads.
    """
    shrunk = list(each(partial(_shrunk_or_error, settings), pictures))
    squares = [one.square for one in shrunk if isinstance(one, _Shrunk)]
    hashes = iter(perceptual_hashes(np.stack(squares) @ LUMA).tolist() if squares else [])
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


def _shrunk_or_error(settings: FetchSettings, picture: Picture) -> _Shrunk | Exception:
    try:
        return _shrunk(picture, settings)
    except Exception as error:
        return error


def _shrunk(picture: Picture, settings: FetchSettings) -> _Shrunk:
    wanted = target_size(picture.width, picture.height, settings) if settings.resize != "keep" else (1, 1)
    # The perceptual hash wants more pixels than it averages, however small the stored picture.
    needed = max(wanted[0], 2 * SIDE), max(wanted[1], 2 * SIDE)
    pixels, turn = _pixels(picture, needed), _turn(picture.image)
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


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _turn(image: Image.Image | None) -> Image.Transpose | None:
    """What makes the picture upright; a broken tag turns nothing."""
    if image is None or ("exif" not in image.info and "xmp" not in image.info and image.format == "JPEG"):
        return None  # to ask Pillow takes longer
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # whatever a parser says of a tag it does not know
        return None


def _pixels(picture: Picture, needed: tuple[int, int]) -> np.ndarray:
    """The picture decoded, uint8[H, W, 3]; a JPEG at the smallest of `SCALES` that has the width and height needed."""
    image = picture.image
    if image is None or (picture.kind == "JPEG" and image.mode in ("RGB", "L")):
        wide, tall = picture.width, picture.height
        for scale in SCALES:
            if -(-picture.width // scale) >= needed[0] and -(-picture.height // scale) >= needed[1]:
                wide, tall = -(-picture.width // scale), -(-picture.height // scale)
                break
        with contextlib.suppress(ValueError):  # whatever this decoder says against a picture, Pillow judges it
            # Colours are halved again when the picture is stored: to spread them smoothly before is work that is then undone.
            pixels: np.ndarray = simplejpeg.decode_jpeg(picture.body, "RGB", fastupsample=True, min_height=tall, min_width=wide)
            return pixels
    if image is None:
        image = _opened(picture.body)
    try:
        image.load()
    except OSError:
        raise Unfit("truncated") from None
    except Exception:
        raise Unfit("unsupported_image") from None
    return np.asarray(flatten(image))


def flatten(image: Image.Image) -> Image.Image:
    """The first frame as 8-bit RGB: transparency over white, 16-bit greys scaled."""
    if image.mode in ("I", "I;16", "I;16B", "F"):
        values = np.asarray(image, dtype=np.float32)
        peak = 65535.0 if values.max(initial=0) > 255 else 255.0
        return Image.fromarray((values.clip(0, peak) * (255.0 / peak)).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        page = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(page, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def target_size(width: int, height: int, settings: FetchSettings) -> tuple[int, int]:
    """The size to scale to: the shorter or longer side at `size`, the ratio kept, never larger than the original."""
    side = min(width, height) if settings.resize in ("shorter_side", "centre_crop") else max(width, height)
    scale = min(1.0, settings.size / side) if settings.resize != "keep" else 1.0
    return max(1, round(width * scale)), max(1, round(height * scale))


def _encode(pixels: np.ndarray, settings: FetchSettings) -> bytes:
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
