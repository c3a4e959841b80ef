"""A sample as it is stored: its members, their order in our tars, and the endings of their names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEMBERS = ("image", "text", "json")  # in the order of our tars; readers go by the index and can read any order
IMAGE_ENDINGS = {
    b"\xff\xd8\xff": "jpg",
    b"\x89PNG": "png",
    b"RIFF": "webp",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"II*\0": "tif",
    b"MM\0*": "tif",
}


@dataclass(frozen=True)
class Sample:
    """One image-text pair: `image` as encoded bytes, `text` the caption, `json` its metadata as a JSON object."""

    sample_id: int
    image: bytes
    text: str
    json: bytes

    def members(self) -> dict[str, bytes]:
        """The bytes of each member, in the order of `MEMBERS`."""
        data = {"image": self.image, "text": self.text.encode(), "json": self.json}
        return {member: data[member] for member in MEMBERS}


def sample_json(sample_id: int, metadata: Mapping[str, Any]) -> bytes:
    """The json member of a sample: its metadata and id with sorted keys, UTF-8."""
    return json.dumps({"sample_id": sample_id, **metadata}, sort_keys=True, ensure_ascii=False).encode()


def ending_of(member: str, data: bytes) -> str:
    """The file ending of a member's name in the tar; that of an image is chosen by its first bytes."""
    if member != "image":
        return {"text": "txt", "json": "json"}[member]
    return next((ending for magic, ending in IMAGE_ENDINGS.items() if data.startswith(magic)), "avif")
