"""Images for tests, as encoded bytes and as fetch stores them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from pipelines.images.identify import identify
from pipelines.images.prepare import StoredImage, prepare
from pipelines.images.settings import ImageSettings


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    """The image as a file of that format."""
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def smooth(width: int, height: int) -> Image.Image:
    """An RGB image without sharp edges, so that resizing and compression change it little."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)).resize((width, height))


def stored_of(body: bytes, settings: ImageSettings) -> StoredImage:
    """What fetch stores of a body; raises RejectedImage."""
    return prepare(identify(body, settings), settings)


def turned_exif() -> Image.Exif:
    """EXIF of an image that lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif
