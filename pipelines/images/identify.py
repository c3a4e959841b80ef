"""What a downloaded body is, by its content, never by header or name; only the header is read, no pixel decoded."""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass

from PIL import Image

from pipelines.images.jpeg_header import plain_size
from pipelines.images.settings import ImageSettings

Image.MAX_IMAGE_PIXELS = None  # the cap is ours, and is checked before decoding
FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "AVIF": "avif"}
FEW_PIXELS = 4_000_000
# Each scan of a progressive JPEG passes over all pixels, and may take no bytes to speak of; sound ones have ten or so.
START_OF_SCAN, MOST_SCANS = b"\xff\xda", 100
HEIF_BRANDS = (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
with contextlib.suppress(ImportError):  # pip install pillow-heif, and pictures of phones are read too
    import pillow_heif

    pillow_heif.register_heif_opener()
    FORMATS["HEIF"] = "heic"


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


class Unfit(Exception):
    """The bytes are no picture to keep; `error` is the class."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


def identify(body: bytes, settings: ImageSettings, expected: str | None = None) -> Picture:
    """What the bytes a URL gave begin as; nothing is decoded. Raises Unfit with the error class.

    `expected` is the md5 or sha256 in hex that the publisher gives of the original bytes.
    """
    sha256 = hashlib.sha256(body).hexdigest()
    if expected and settings.verify_hash and expected.lower() not in (sha256, _md5(body)):
        raise Unfit("hash_mismatch")
    size, image, kind = plain_size(body), None, "JPEG"
    if size is None:
        image = open_image(body)
        size, kind = image.size, "JPEG" if image.format == "MPO" else image.format or ""
    picture = Picture(body, sha256, kind, *size, image)
    if picture.width * picture.height > settings.max_pixels:
        raise Unfit("too_many_pixels")
    if picture.progressive and body.count(START_OF_SCAN) > MOST_SCANS:
        raise Unfit("too_many_scans")
    return picture


def open_image(body: bytes) -> Image.Image:
    """The image as Pillow opens it, not yet decoded; raises Unfit with the error class."""
    try:
        return Image.open(io.BytesIO(body), formats=list(FORMATS))
    except Exception:  # whatever a parser says of bytes it does not know
        raise Unfit("unsupported_image" if body[4:8] == b"ftyp" and body[8:12] in HEIF_BRANDS else "not_an_image") from None


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
