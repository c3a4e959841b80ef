"""A sample as it is stored: its members, their order in our tars, and the endings of their names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

MEMBERS = ("image", "text", "json")  # in the order of our tars; readers go by the index and can read any order
CAPTIONS = b'"captions"'  # is in the json of a sample that has several
IMAGE_ENDINGS = {
    b"\xff\xd8\xff": "jpg",
    b"\x89PNG": "png",
    b"RIFF": "webp",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"II*\0": "tif",
    b"MM\0*": "tif",
}
# of ISO media files
BRANDS = {
    b"avif": "avif",
    b"avis": "avif",
    b"heic": "heic",
    b"heix": "heic",
    b"hevc": "heic",
    b"mif1": "heic",
}


@dataclass(frozen=True)
class Sample:
    """One image-text pair: `image` as encoded bytes, `text` the caption, `json` its metadata as a JSON object.

    Members that are none of these (in tars that others wrote) are in `others`, by the ending of their names. Of a sample that a
    dataset has several times, each copy after the first has its number as `repeat`. Of several captions `text` is the first;
    `json` tells of all in its list `captions`, and `also` are the ids of those that were samples of their own.
    """

    sample_id: int
    image: bytes
    text: str
    json: bytes
    others: Mapping[str, bytes] = field(default_factory=dict)
    repeat: int = 0
    also: Sequence[int] = ()

    @classmethod
    def of_members(cls, sample_id: int, members: Mapping[str, bytes]) -> Sample:
        """The sample of these members; one that is missing is empty, a text that is not UTF-8 gets U+FFFD where it is not."""
        others = {member: members[member] for member in members.keys() - MEMBERS}
        text = members.get("text", b"").decode(errors="replace")
        return cls(sample_id, members.get("image", b""), text, members.get("json", b""), others)

    def members(self) -> dict[str, bytes]:
        """The bytes of each member, in the order of `MEMBERS`."""
        data = {"image": self.image, "text": self.text.encode(), "json": self.json}
        return {member: data[member] for member in MEMBERS}

    def pairs(self) -> list[Sample]:
        """The sample once for each of its captions, with what `json` tells of that one: id, source, language."""
        if CAPTIONS not in self.json:  # most samples: parsing takes longer than looking
            return [self]
        metadata = metadata_of(self.json)
        captions = metadata.pop("captions", None)
        if not isinstance(captions, list) or not all(map(_is_told, captions)):
            return [self]
        return [self._with_caption(metadata | caption) for caption in captions] or [self]

    def _with_caption(self, metadata: dict[str, Any]) -> Sample:
        text, own = metadata.pop("caption").encode(errors="replace").decode(), metadata.pop("sample_id", None)
        sample_id = own if type(own) is int and 0 <= own < 1 << 64 else self.sample_id
        return replace(self, sample_id=sample_id, text=text, json=sample_json(sample_id, metadata), also=())


def _is_told(caption: Any) -> bool:
    """Whether a value in a list `captions` is of ours, or like it: others have what they like there."""
    return isinstance(caption, dict) and isinstance(caption.get("caption"), str)


def key_of(sample_id: int, repeat: int = 0) -> str:
    """The name of a sample's members in the tar: its id as 16 hex digits, of a repeat with its number."""
    return f"{sample_id:016x}" + (f"-{repeat}" if repeat else "")


def sample_json(sample_id: int, metadata: Mapping[str, Any]) -> bytes:
    """The json member of a sample: its metadata and id with sorted keys, UTF-8."""
    return json.dumps({"sample_id": sample_id, **metadata}, sort_keys=True, ensure_ascii=False).encode(errors="replace")


def metadata_of(data: bytes) -> dict[str, Any]:
    """The json member of a sample as a dict, empty where it has none or it is no JSON object, which `verify --decode` names."""
    try:
        metadata = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def endings_of(members: Mapping[str, bytes]) -> dict[str, str]:
    """Member → the ending of its name in the tar: an image's by its first bytes, `txt` for text, else its own name.

    An image of unknown bytes, or whose ending is the name of another member, is `img`; ValueError where two have one ending.
    """
    names = {"text": "txt"} if "image" not in members else {"text": "txt", "image": image_ending(members["image"]) or "img"}
    if names.get("image") in members:
        names["image"] = "img"
    endings = {member: names.get(member, member) for member in members}
    if len(set(endings.values())) < len(members):
        raise ValueError(f"members {', '.join(members)} would not have names of their own")
    return endings


def image_ending(data: bytes) -> str | None:
    """The file ending of an image, by its first bytes; None where they are no known image's."""
    if data[4:8] == b"ftyp":
        return BRANDS.get(data[8:12])
    if data.startswith(b"RIFF") and data[8:12] != b"WEBP":
        return None
    return next((ending for magic, ending in IMAGE_ENDINGS.items() if data.startswith(magic)), None)
