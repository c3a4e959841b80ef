"""Decodes images to 8-bit RGB: JPEGs at the smallest DCT scale that is large enough, the first frame, upright, over white."""

from __future__ import annotations

import contextlib
import ctypes
from functools import lru_cache

import numpy as np
import simplejpeg
from PIL import Image

from pipelines.images.identify import IdentifiedImage, RejectedImage, open_image

ORIENTATION = 0x0112
# The tag's value → the transposition that makes the image upright (EXIF 2.32, table 6).
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
SCALES = (8, 4, 2)  # divisors of a JPEG's size at which libjpeg-turbo decodes with vector code

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)
KEPT_BYTES = 32 << 20


@lru_cache(1)
def keep_freed_memory() -> None:
    """Makes malloc of this process keep freed memory: returning it to the system after each image costs a fifth of the time."""
    with contextlib.suppress(AttributeError, OSError):  # not glibc
        for setting in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            ctypes.CDLL(None).mallopt(setting, KEPT_BYTES)


def decode(image: IdentifiedImage, needed: tuple[int, int]) -> np.ndarray:
    """The pixels as stored, uint8[H, W, 3]; a JPEG at the smallest of `SCALES` that is at least `needed` (width, height).

    Raises RejectedImage with the error class.
    """
    opened = image.opened
    if opened is None or (image.format == "JPEG" and opened.mode in ("RGB", "L")):
        width, height = image.width, image.height
        for scale in SCALES:
            if -(-image.width // scale) >= needed[0] and -(-image.height // scale) >= needed[1]:
                width, height = -(-image.width // scale), -(-image.height // scale)
                break
        with contextlib.suppress(ValueError):  # what this decoder rejects, Pillow decides
            # Colour is halved again when the image is stored as 4:2:0, so smooth upsampling here would be undone.
            pixels: np.ndarray = simplejpeg.decode_jpeg(image.body, "RGB", fastupsample=True, min_height=height, min_width=width)
            return pixels
    if opened is None:
        opened = open_image(image.body)
    try:
        opened.load()
        return np.asarray(flatten(opened))
    except OSError:
        raise RejectedImage("truncated") from None
    except MemoryError:
        raise
    except Exception:  # Pillow's decoders and conversions raise many kinds
        raise RejectedImage("unsupported_image") from None


def upright_transpose(image: Image.Image | None) -> Image.Transpose | None:
    """The transposition that makes the image upright, by its EXIF orientation; None where there is none, or a broken tag."""
    if image is None or ("exif" not in image.info and "xmp" not in image.info and image.format == "JPEG"):
        return None  # Pillow's getexif takes longer to find the same
    try:
        return UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow's parsers raise many kinds
        return None


def flatten(image: Image.Image) -> Image.Image:
    """The first frame as 8-bit RGB: transparency over white, 16-bit greys scaled to 8 bits."""
    if image.mode in ("I", "I;16", "I;16B", "F"):
        values = np.asarray(image, dtype=np.float32)
        peak = 65535.0 if values.max(initial=0) > 255 else 255.0
        return Image.fromarray((values.clip(0, peak) * (255.0 / peak)).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
