"""Images for tests, as encoded bytes and as fetch stores them."""

from __future__ import annotations

import io
import struct

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


def turned_exif(orientation: int = 6) -> Image.Exif:
    """EXIF of an image that lies on its side, or as `orientation` says."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


# Primaries of RGB spaces as XYZ of red, green and blue, adapted to D50 (IEC 61966-2-1, Adobe RGB 1998).
STANDARD = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
WIDE = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))


def rgb_profile(primaries: tuple[tuple[float, float, float], ...], gamma: float = 2.2) -> bytes:
    """An ICC profile (version 2) of an RGB space."""
    colours = {b"rXYZ": primaries[0], b"gXYZ": primaries[1], b"bXYZ": primaries[2], b"wtpt": (0.9642, 1.0, 0.8249)}
    tags = {name: b"XYZ \0\0\0\0" + b"".join(map(_fixed, xyz)) for name, xyz in colours.items()}
    return _profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma)))


def grey_profile(gamma: float) -> bytes:
    """An ICC profile (version 2) of grey."""
    return _profile(b"GRAY", {b"wtpt": b"XYZ \0\0\0\0" + b"".join(map(_fixed, (0.9642, 1.0, 0.8249))), b"kTRC": _curve(gamma)})


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, data, at = b"", b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", at + len(data), len(value))
        data += value
    header = struct.pack(">I4sI4s4s4s12s4s", at + len(data), b"", 0x02100000, b"mntr", space, b"XYZ ", b"", b"acsp")
    header += bytes(28) + b"".join(map(_fixed, (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data
