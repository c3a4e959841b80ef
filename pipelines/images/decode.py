"""Decodes downloaded images to 8-bit sRGB as `sharding.decode` does, JPEGs at the smallest DCT scale that is large enough.

Faults have classes: a body that ends early is `truncated`, one with wrong checksums or foreign bytes in its middle is a
`corrupt_image`.
"""

from __future__ import annotations

import re

import numpy as np
import simplejpeg
from PIL import Image

from pipelines.images.containers import EOI, has_text_inside, is_cut
from pipelines.images.eighth import eighth
from pipelines.images.identify import IdentifiedImage, RejectedImage, open_image
from sharding.decode import is_srgb, load, to_srgb, to_srgb_pixels

EIGHTH = 8
SCALES = (EIGHTH, 4, 2)  # divisors of a JPEG's size at which libjpeg-turbo decodes with vector code
LEFT_OVER, PADDING = re.compile(r"(\d+) extraneous bytes before marker 0xd9"), b"\0\xff"

LARGE = 256 << 20  # bytes; what malloc keeps of an image that took more is missed by the next one


def decode(image: IdentifiedImage, needed: tuple[int, int]) -> np.ndarray:
    """The pixels in sRGB, not yet upright, uint8[H, W, 3]; a JPEG at the smallest of `SCALES` that is at least `needed` (width,
    height).

    Raises RejectedImage with the error class.
    """
    opened = image.opened
    if opened is None or (image.format == "JPEG" and (opened.mode == "RGB" or (opened.mode == "L" and not image.profile))):
        if has_text_inside(image.body):
            raise RejectedImage("corrupt_image")
        try:
            pixels = _scaled_jpeg(image, needed)
        except ValueError as error:  # what this decoder rejects for another reason, Pillow decides
            if _has_foreign_bytes(image.body, str(error)):
                raise RejectedImage("truncated" if is_cut(image.body) else "corrupt_image") from None
        else:
            return pixels if is_srgb(image.profile) else np.asarray(to_srgb_pixels(Image.fromarray(pixels), image.profile))
    if opened is None:
        opened = open_image(image.body)
    try:
        load(opened)
        return np.asarray(to_srgb(opened))
    except MemoryError:
        raise
    except OSError as error:
        raise RejectedImage("truncated" if "truncated" in str(error) or is_cut(image.body) else "corrupt_image") from None
    except Exception:  # Pillow's decoders and conversions raise many kinds
        raise RejectedImage("truncated" if is_cut(image.body) else "unsupported_image") from None


def _scaled_jpeg(image: IdentifiedImage, needed: tuple[int, int]) -> np.ndarray:
    """ValueError with libjpeg's error or warning."""
    width, height = image.width, image.height
    for scale in SCALES:
        if -(-image.width // scale) >= needed[0] and -(-image.height // scale) >= needed[1]:
            width, height = -(-image.width // scale), -(-image.height // scale)
            if scale == EIGHTH and (pixels := eighth(image.body)) is not None:
                return pixels
            break
    # Colour is halved again when the image is stored as 4:2:0, so smooth upsampling here would be undone.
    decoded: np.ndarray = simplejpeg.decode_jpeg(image.body, "RGB", fastupsample=True, min_height=height, min_width=width)
    return decoded


def _has_foreign_bytes(body: bytes, warning: str) -> bool:
    """Whether libjpeg's warning tells of bytes that are no part of the picture, other than padding before its end."""
    left_over = LEFT_OVER.search(warning)
    if left_over:
        end = body.rfind(EOI)
        return bool(body[max(0, end - int(left_over[1])) : end].strip(PADDING))
    return "Corrupt JPEG data" in warning
