"""Decodes images to 8-bit RGB: JPEGs at the smallest DCT scale that is large enough, the first frame, upright, over white."""

from __future__ import annotations

import contextlib
import ctypes
from functools import lru_cache

import numpy as np
import simplejpeg
from PIL import Image

from pipelines.images.identify import Picture, Unfit, open_image

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

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt(3)
KEPT = 32 << 20  # bytes


@lru_cache(1)
def keep_memory() -> None:
    """Has this process keep what pictures were decoded in: to get it anew from the system for each is a fifth of the work."""
    with contextlib.suppress(AttributeError, OSError):  # another C library has other ways
        for setting in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            ctypes.CDLL(None).mallopt(setting, KEPT)


def decode(picture: Picture, needed: tuple[int, int]) -> np.ndarray:
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
        image = open_image(picture.body)
    try:
        image.load()
    except OSError:
        raise Unfit("truncated") from None
    except Exception:
        raise Unfit("unsupported_image") from None
    return np.asarray(flatten(image))


def turn_of(image: Image.Image | None) -> Image.Transpose | None:
    """What makes the picture upright; a broken tag turns nothing."""
    if image is None or ("exif" not in image.info and "xmp" not in image.info and image.format == "JPEG"):
        return None  # to ask Pillow takes longer
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # whatever a parser says of a tag it does not know
        return None


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
