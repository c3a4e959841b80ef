"""Phrases with boxes → grounding conversations.

A line of the file is a picture and a phrase: {image, width, height, phrase, box} or `boxes`, corners in pixels; names like
RefCOCO's (`sent`, `expression`, `caption`, `bbox`, of left, top, width, height where `bbox_mode` is xywh) are read too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.annotations.boxes import from_sides
from pipelines.annotations.phrases import Language, grounding
from pipelines.annotations.reading import Entry, Tally, boxes_of, json_lines, picture_of

PHRASES = ("phrase", "expression", "sent", "text", "caption")


def read_grounded(uri: str, language: Language, tally: Tally) -> Iterator[Entry]:
    """An entry for each phrase that has a box."""
    for where, item in json_lines(uri, tally):
        named = picture_of(item, tally, where)
        if named is None:
            continue
        phrase = next((item[name] for name in PHRASES if isinstance(item.get(name), str) and item[name].strip()), None)
        if phrase is None:
            tally.refuse("no_text", where)
            continue
        boxes = boxes_of(_corners(item), named[1:], tally, where)
        tally.counts["boxes"] += len(boxes)
        if boxes:
            yield Entry(str(item.get("id", named[0])), *named, grounding(phrase, boxes, language))
        else:
            tally.refuse("no_boxes", where)


def _corners(item: Mapping[str, Any]) -> list[Any]:
    given = item.get("boxes") or [item.get("box") or item.get("bbox") or []]
    boxes = given if isinstance(given, list) else [given]
    return [from_sides(box) for box in boxes] if item.get("bbox_mode") == "xywh" else boxes
