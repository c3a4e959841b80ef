"""What the readers of annotations have in common: an entry for the output, faults that are counted, lines of JSON."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, Any

from infra.compat.errors import RequestError
from infra.compat.files import open_file
from pipelines.annotations.boxes import Box, BoxFault, is_finite, pixel_box
from sharding.lines import Lines

# reason → what it means, beside those of boxes
REASONS = {
    "not_json": "a line is no JSON object",
    "no_image": "an entry names no picture",
    "no_size": "an entry has no width and height, by which its boxes are scaled",
    "no_text": "an entry has no text",
    "no_boxes": "nothing of an entry is left",
    "crowd": "a region of many objects (iscrowd) is no object's box",
    "no_category": "an object is of a category that the file does not have, or has no name for",
    "same_id": "a picture has the id of one before it",
    "several_images": "an entry has several pictures, and boxes do not say of which they are",
}
NAMED = 20  # rejects that are named
ENTRIES_AT_ONCE = 256  # of a list


@dataclass
class Tally:
    """What was read, written, and refused; the first refusals by name."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)

    def refuse(self, reason: str, where: str) -> None:
        """Counts what is left out, and names it if few were before."""
        self.reasons[reason] += 1
        if len(self.named) < NAMED:
            self.named.append(f"{where}: {reason}")


@dataclass(frozen=True)
class Entry:
    """A picture and a conversation about it, as a line of InternVL's annotations; sides in pixels, None where not known.

    image  its path; "" of a conversation about none
    """

    id: str
    image: str
    width: int | None
    height: int | None
    conversations: list[dict[str, str]]

    def line(self) -> str:
        """The entry as JSON in one line."""
        return json.dumps({name: value for name, value in vars(self).items() if value not in (None, "")}, ensure_ascii=False)


def boxes_of(corners: Sequence[object], size: tuple[float, float], tally: Tally, where: str) -> list[Box]:
    """The boxes of corners in pixels, in a picture of `size`; those that are none are counted."""
    boxes = []
    for each in corners:
        try:
            boxes.append(pixel_box(each, *size))
        except BoxFault as fault:
            tally.refuse(str(fault), where)
    return boxes


def json_lines(uri: str, tally: Tally) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(where, object) of each line of a file, or of each entry of a JSON list, read through an index. Others are counted."""
    with open_file(uri) as handle:
        skip_mark(handle)
        first = handle.read(1)
        while first.isspace():
            first = handle.read(1)
        if first == b"[":
            yield from _listed(uri, tally)
            return
        lines: Iterator[bytes] = iter(handle.readline, b"")
        for number, line in enumerate(lines, start=1):
            text = (first if number == 1 else b"") + line
            if text.strip():
                tally.counts["read"] += 1
                yield from _object(text, f"{uri}, line {number}", tally)


def skip_mark(handle: IO[bytes]) -> None:
    """Goes past the mark that some programs begin a file of UTF-8 with."""
    if handle.read(3) != codecs.BOM_UTF8:
        handle.seek(0)


def _listed(uri: str, tally: Tally) -> Iterator[tuple[str, Mapping[str, Any]]]:
    lines = Lines(uri)
    for first in range(0, len(lines), ENTRIES_AT_ONCE):
        rows = range(first, min(len(lines), first + ENTRIES_AT_ONCE))
        for row, data in zip(rows, lines.read_many(rows), strict=True):
            if isinstance(data, Exception):
                raise RequestError(f"{uri} cannot be read ({data}); fetch it again")
            tally.counts["read"] += 1
            yield from _object(data, f"{uri}, entry {row}", tally)


def _object(text: bytes, where: str, tally: Tally) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        entry = None
    if isinstance(entry, dict):
        yield where, entry
    else:
        tally.refuse("not_json", where)


def id_of(item: Mapping[str, Any], name: str) -> str:
    """An id as text, by which 7, 7.0 and "7" are one: programs between a set and us change its type. "" where there is none."""
    value = item.get(name)
    if isinstance(value, str):
        return value
    return str(int(value)) if is_finite(value) and value == int(value) else ""


def picture_of(entry: Mapping[str, Any], tally: Tally, where: str) -> tuple[str, int, int] | None:
    """(path, width, height) of an entry's picture; None where it does not say, which is counted."""
    image, size = image_of(entry), size_of(entry)
    if image and size:
        return image, *size
    tally.refuse("no_size" if image else "no_image", where)
    return None


def image_of(entry: Mapping[str, Any]) -> str:
    """The path or URI of an entry's picture; "" where it names none, or several."""
    image = entry.get("image") or entry.get("img_path") or entry.get("file_name")
    if isinstance(image, list) and len(image) == 1:
        image = image[0]
    if not isinstance(image, str) or not image:
        return ""
    return image if "://" in image else str(PurePosixPath(image))


def size_of(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """(width, height) of an entry's picture; None where it does not say."""
    width, height = entry.get("width"), entry.get("height")
    return (int(width), int(height)) if is_finite(width) and is_finite(height) and min(width, height) >= 1 else None


Reader = Callable[[str, str, Tally], Iterator[Entry]]  # (file, language, tally) → entries
