"""The bytes of a picture as they are exported: of a known type, and encoded anew on request."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from pipelines.images.identify import FORMATS
from sharding.decode import decode_picture
from sharding.sample import image_ending

ENDING_OF_MIME = {f"image/{name.lower()}": ending for name, ending in FORMATS.items()}
# JPEG at the quality that fetch stores by default; WebP at the same, at which it is as good.
ENCODERS: dict[str, dict[str, Any]] = {
    "jpg": {"format": "JPEG", "quality": 92},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP", "quality": 92},
}


class LostPicture(Exception):
    """A picture that cannot be exported; its text is the reason."""


def exported_picture(data: bytes, pictures: str, types: Sequence[str]) -> bytes:
    """A stored picture as it is exported, for the setting `pictures`; `types` are the allowed endings, any if empty.

    Raises LostPicture: not_an_image, another_type, undecodable or unencodable.
    """
    ending = image_ending(data)
    if ending is None:
        raise LostPicture("not_an_image")
    if pictures in ENCODERS and ending != pictures:
        return _encoded(data, pictures)
    if types and ending not in types:
        raise LostPicture("another_type")
    return data


def _encoded(data: bytes, ending: str) -> bytes:
    encoded = io.BytesIO()
    try:
        image = decode_picture(data)
    except ValueError:
        raise LostPicture("undecodable") from None
    try:
        image.save(encoded, **ENCODERS[ending])
    except (OSError, ValueError):  # it is longer than the type can be
        raise LostPicture("unencodable") from None
    return encoded.getvalue()
