"""Which format and size a downloaded body has, by its content, never by HTTP header or name. No pixel is decoded."""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass

from PIL import Image

from pipelines.images.containers import error_class, first_scan_colours, has_more_scans
from pipelines.images.jpeg_header import PlainHeader, plain_header
from pipelines.images.settings import ImageSettings
from sharding.coded_size import has_coded_size

Image.MAX_IMAGE_PIXELS = None  # `max_pixels` is checked instead, before decoding
FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "AVIF": "avif"}
QUICK_PIXELS = 4_000_000
# Each scan of a JPEG passes over all pixels but may take hardly any bytes, so that a small file can be very slow to decode; real
# ones have ten scans or so. A plain JPEG has one.
MAX_SCANS = 100
with contextlib.suppress(ImportError):  # with pillow-heif installed, images of phones are read too
    import pillow_heif

    pillow_heif.register_heif_opener()
    FORMATS["HEIF"] = "heic"


@dataclass(frozen=True)
class IdentifiedImage:
    """A body whose header is an image's, of an allowed size; its pixels are not decoded yet.

    format  Pillow's name of it; a JPEG that holds further images, as phones write them, is a JPEG
    width, height  as stored, before the EXIF orientation is applied
    profile  of its colours (ICC), None where it has none
    opened  by Pillow; None for a plain JPEG, whose header is read by `jpeg_header`
    """

    body: bytes
    sha256: str
    format: str
    width: int
    height: int
    profile: bytes | None
    opened: Image.Image | None

    @property
    def decodes_quickly(self) -> bool:
        """Whether decoding takes milliseconds at most, even if the file was made to be slow."""
        return self.format == "JPEG" and self.width * self.height <= QUICK_PIXELS and not self.has_several_scans

    @property
    def has_several_scans(self) -> bool:
        """Whether it is a JPEG that is progressive, or has its colours one behind the other."""
        if self.opened is None or self.format != "JPEG":
            return False
        return "progressive" in self.opened.info or first_scan_colours(self.body) != getattr(self.opened, "layers", None)


class RejectedImage(Exception):
    """The bytes are not an image, or not one to keep; `error` is the class."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


def identify(body: bytes, settings: ImageSettings, expected_hash: str | None = None) -> IdentifiedImage:
    """Format and size of a downloaded body, from its header; raises RejectedImage with the error class.

    `expected_hash` is the publisher's md5 or sha256 of the original bytes, in hex.
    """
    sha256 = hashlib.sha256(body).hexdigest()
    if expected_hash and settings.verify_hash and expected_hash.lower() not in (sha256, _md5(body)):
        raise RejectedImage("hash_mismatch")
    header, opened, format = plain_header(body), None, "JPEG"
    if header is None:
        opened = open_image(body)
        header = PlainHeader(*opened.size, opened.info.get("icc_profile"))
        format = "JPEG" if opened.format == "MPO" else opened.format or ""
    image = IdentifiedImage(body, sha256, format, header.width, header.height, header.profile, opened)
    if image.width * image.height > settings.max_pixels:
        raise RejectedImage("too_many_pixels")
    if image.has_several_scans and has_more_scans(body, MAX_SCANS):
        raise RejectedImage("too_many_scans")
    return image


def open_image(body: bytes) -> Image.Image:
    """The image opened by Pillow, not yet decoded; raises RejectedImage with the error class."""
    try:
        opened = Image.open(io.BytesIO(body), formats=list(FORMATS))
    except Exception:  # Pillow's parsers raise many kinds
        raise RejectedImage(error_class(body)) from None
    if not has_coded_size(body, opened):
        raise RejectedImage(error_class(body))
    return opened


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
