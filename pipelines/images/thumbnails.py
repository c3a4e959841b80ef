"""Pictures as part of a page."""

from __future__ import annotations

import base64
import io

from sharding.decode import decode_picture


def thumbnail(data: bytes, side: int) -> str:
    """A JPEG, `side` pixels wide and high at most, as a data URL; "" for bytes that cannot be decoded."""
    try:
        image = decode_picture(data)
    except ValueError:
        return ""
    image.thumbnail((side, side))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
