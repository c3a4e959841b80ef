"""The bytes of a picture → upright 8-bit sRGB: one decoder for fetching, scoring, captioning, evaluation sets, reports, training.

Transparency is laid over white, of an animation the first frame is taken, the EXIF orientation is applied, colours of another
space (Adobe RGB, Display P3, CMYK with a profile) become sRGB, and numbers of more than 8 bits are scaled by their type. It lies
in this room because fetching and training both stand on it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, ImageCms, UnidentifiedImageError

from sharding.coded_size import has_coded_size
from sharding.plain_jpeg import plain_jpeg_size

ORIENTATION = 0x0112
BITS_PER_SAMPLE = 258  # of TIFF
# The orientation's value → the transposition that makes the picture upright (EXIF 2.32, table 6).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = {UPRIGHT[value] for value in (5, 6, 7, 8)}
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
GREY_STEPS = {"L;2": 85, "L;4": 17}  # Pillow's name of grey of few bits → the step between its levels in 8 bits
DEEP_RGB = "RGB;16B"  # of which Pillow keeps the upper 8 bits
AT_ONCE = 1 << 20  # pixels that are scaled to 8 bits: the floats of all would take more memory than decoding does
PROFILES = 32  # transforms that a process keeps
MOST_PIXELS = 178_956_970  # as Pillow by itself; a header can claim any number, and decoding then takes all memory
UNSEEN_DIFFERENCE = 2  # levels: a profile that moves no colour further is sRGB by another name


Sides = Callable[[tuple[int, int]], tuple[int, int]]


def decode_picture(data: bytes, at_least: int | Sides = 0) -> Image.Image:
    """The picture, RGB and upright; a JPEG at the smallest DCT scale with both sides ≥ `at_least` (0: whole).

    `at_least` may be a function of (width, height) of the upright picture that gives a least width and height. ValueError when
    the picture cannot be decoded, or has more than `MOST_PIXELS`.
    """
    picture = _decoded(data, at_least)
    return picture if isinstance(picture, Image.Image) else Image.fromarray(picture)


def decode_pixels(data: bytes, at_least: int | Sides = 0) -> np.ndarray:
    """The pixels of `decode_picture`, uint8[H, W, 3], not to be written to; of most JPEGs without a detour through Pillow."""
    return np.asarray(_decoded(data, at_least))


def _decoded(data: bytes, at_least: int | Sides) -> Image.Image | np.ndarray:
    try:
        if at_least and (size := plain_jpeg_size(data)):
            _require_pixels(size)
            return _scaled(data, (at_least, at_least) if isinstance(at_least, int) else at_least(size))
        opened = Image.open(io.BytesIO(data))
        _require_pixels(opened.size)
        if not has_coded_size(data, opened):
            raise ValueError("its size is not that of the coded picture")
        profile = opened.info.get("icc_profile")
        if at_least and data[:2] == b"\xff\xd8" and (opened.mode == "RGB" or (opened.mode == "L" and not profile)):
            pixels = _scaled(data, (at_least, at_least) if isinstance(at_least, int) else _coded(opened, at_least))
            transpose = upright_transpose(opened)
            if is_srgb(profile) and transpose is None:
                return pixels
            image = to_srgb_pixels(Image.fromarray(pixels), profile)
        else:
            load(opened)
            image = to_srgb(opened)
            transpose = upright_transpose(opened)  # after load, which turns TIFFs itself
        return image if transpose is None else image.transpose(transpose)
    except MemoryError:
        raise
    except UnidentifiedImageError:  # its text has the address of an object, another each time
        raise ValueError("not a picture: its format is unknown") from None
    except Exception as error:  # Pillow's parsers raise many kinds
        raise ValueError(f"not a picture: {error}") from None


def _require_pixels(size: tuple[int, int]) -> None:
    """ValueError for a picture that is too large to be decoded; Pillow's own check is off where `fetch` has one of its own."""
    width, height = size
    if width * height > MOST_PIXELS:
        raise ValueError(f"it has {width} x {height} pixels, and {MOST_PIXELS:,} are the most that are decoded")


def _scaled(data: bytes, at_least: tuple[int, int]) -> np.ndarray:
    """The pixels of a JPEG at the smallest DCT scale of at least a width and height."""
    width, height = at_least
    pixels: np.ndarray = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    return pixels


def upright_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the upright picture, by its header; ValueError when that cannot be read."""
    try:
        opened = Image.open(io.BytesIO(data))
    except MemoryError:
        raise
    except UnidentifiedImageError:
        raise ValueError("not a picture: its format is unknown") from None
    except Exception as error:  # Pillow's parsers raise many kinds
        raise ValueError(f"not a picture: {error}") from None
    return _swapped(opened, opened.size)


def _coded(image: Image.Image, at_least: Sides) -> tuple[int, int]:
    """The least sides of a picture as it lies in its file."""
    return _swapped(image, at_least(_swapped(image, image.size)))


def _swapped(image: Image.Image, size: tuple[int, int]) -> tuple[int, int]:
    return size[::-1] if upright_transpose(image) in SIDEWAYS else size


def upright_transpose(image: Image.Image | None) -> Image.Transpose | None:
    """The transposition that makes the picture upright, by its EXIF orientation; None where there is none, or a broken tag."""
    if image is None or ("exif" not in image.info and "xmp" not in image.info and image.format == "JPEG"):
        return None  # Pillow's getexif takes longer to find the same
    try:
        return UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow's parsers raise many kinds
        return None


def load(image: Image.Image) -> None:
    """Decodes an opened picture. A PNG's transparent colour has the bits of the file; it gets those of Pillow's pixels."""
    coded, size = getattr(image, "tile", [])[:1] if image.format == "PNG" else [], image.size
    image.load()
    if image.size not in (size, size[::-1]):  # Pillow turns TIFFs upright
        raise OSError("its size is not that of the coded picture")
    transparent = image.info.get("transparency")
    for bits in (tile.args for tile in coded):
        if isinstance(transparent, int) and bits in GREY_STEPS:
            image.info["transparency"] = transparent * GREY_STEPS[bits]
        elif isinstance(transparent, tuple) and bits == DEEP_RGB:
            image.info["transparency"] = tuple(level >> 8 for level in transparent)


def to_srgb(image: Image.Image) -> Image.Image:
    """A loaded picture of any mode as 8-bit sRGB, not yet upright."""
    profile = image.info.get("icc_profile")
    # Pillow fails on the transparency of a GIF whose palette is a grey ramp, so grey is composed here.
    if image.mode in DEEP_MODES or (image.mode == "L" and isinstance(image.info.get("transparency"), int)):
        return to_srgb_pixels(_eight_bits(image), profile)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = to_srgb_pixels(image.convert("RGBA"), profile)
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    if image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    return to_srgb_pixels(image, profile)


def to_srgb_pixels(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB, RGBA, L or CMYK in the colour space of an ICC profile as RGB (RGBA) in sRGB. A broken profile counts as none."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    transform = _transform(profile, image.mode, mode) if profile else None
    if transform is None:
        return image if image.mode == mode else image.convert(mode)
    converted = ImageCms.applyTransform(image, transform)
    return converted if converted is not None else image


def is_srgb(profile: bytes | None) -> bool:
    """Whether RGB with this profile can be taken as it is: it has none, or one that says sRGB, or a broken one."""
    return not profile or _transform(profile, "RGB", "RGB") is None


@lru_cache(PROFILES)
def _transform(profile: bytes, mode: str, target: str) -> Any:
    """The transform of pixels of a mode to sRGB; None where it would change nothing, or the profile is not one of that mode."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, target)
        colours = _colours(mode)
        moved = np.asarray(ImageCms.applyTransform(colours, transform), dtype=np.int16)
        plain = np.asarray(colours.convert(target), dtype=np.int16)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return transform if np.abs(moved - plain).max() > UNSEEN_DIFFERENCE else None


def _colours(mode: str) -> Image.Image:
    """Colours from the whole space, by which two transforms are told apart."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    levels = np.linspace(0, 255, 6).astype(np.uint8)
    grid = np.stack(np.meshgrid(*[levels] * channels, indexing="ij"), -1).reshape(1, -1, channels)
    return Image.frombytes(mode, (grid.shape[1], 1), grid.tobytes())


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey scaled by its type: integers by their largest, floats from 0 … 1. A transparent grey is white."""
    values, largest, transparent = np.asarray(image), _largest(image), image.info.get("transparency")
    flat, eight_bits = values.ravel(), np.empty(values.size, np.uint8)
    for first in range(0, flat.size, AT_ONCE):
        block = flat[first : first + AT_ONCE].astype(np.float64)
        scaled = np.nan_to_num(block / largest, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1) * 255
        if isinstance(transparent, int):
            scaled[block == transparent] = 255
        eight_bits[first : first + AT_ONCE] = scaled.round()
    return Image.fromarray(eight_bits.reshape(values.shape))


def _largest(image: Image.Image) -> float:
    """The number that means white."""
    if image.mode in ("F", "L"):
        return 1.0 if image.mode == "F" else 255.0
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (32 if image.mode == "I" else 16,))
        return float(2 ** (bits[0] if isinstance(bits, tuple) else bits) - 1)
    return 65535.0  # PNG's
