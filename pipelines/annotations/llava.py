"""LLaVA's conversations, whose boxes are shares of the sides ([0.12, 0.3, 0.58, 0.9]) → the same with boxes of 0 … 1000.

Of which picture they are shares, sets do not say: of the original, or of the square that it was padded to (reported of the Visual
Genome boxes in LLaVA-1.5's mix). `padded` takes them as the latter; look at the page before you train.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.annotations.boxes import SCALE, BoxFault, scaled_box
from pipelines.annotations.reading import Entry, Tally, image_of, json_lines, size_of

NUMBER = r"\s*(-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*"
BOX = re.compile(rf"\[{NUMBER},{NUMBER},{NUMBER},{NUMBER}\]")
ONE = BOX.pattern.replace("(-?", "(?:-?")
SOME = rf"\[\s*{ONE}(?:\s*,\s*{ONE})*\s*\]"
PLACE = re.compile(rf"<box>\s*(?:{SOME}|{ONE})\s*</box>|{SOME}|{ONE}")  # boxes, with the tag already or without


def read_llava(uri: str, tally: Tally, padded: bool) -> Iterator[Entry]:
    """An entry for each whose boxes are all of one unit; what has no box, or no picture, stays as it is."""
    for where, item in json_lines(uri, tally):
        turns, image, size = _turns(item.get("conversations")), image_of(item), size_of(item)
        if not turns:
            tally.refuse("no_text", where)
            continue
        if not image and item.get("image"):
            tally.refuse("several_images" if isinstance(item["image"], list) else "no_image", where)
            continue
        try:
            converted = [_converted(turn, size, padded) for turn in turns] if image else turns
        except (BoxFault, _NoSize) as fault:
            tally.refuse(str(fault), where)
            continue
        tally.counts["boxes"] += sum(
            len(BOX.findall(found)) for turn in converted if image for found in PLACE.findall(turn["value"])
        )
        width, height = size or (None, None)
        yield Entry(str(item.get("id", image)), image, width, height, converted)


class _NoSize(ValueError):
    """A share of a padded square that is not known."""


def _turns(given: Any) -> list[dict[str, str]]:
    """The turns; none where one is not text that somebody says. Some publish `text` for `value`."""
    turns = given if isinstance(given, list) and all(isinstance(turn, Mapping) for turn in given) else []
    said = [{"from": turn.get("from"), "value": turn.get("value", turn.get("text"))} for turn in turns]
    return said if all(isinstance(value, str) for turn in said for value in turn.values()) else []


def _converted(turn: Mapping[str, str], size: tuple[int, int] | None, padded: bool) -> dict[str, str]:
    text = turn["value"]
    unit = _unit([[float(number) for number in found] for found in BOX.findall(text)])

    def tagged(found: re.Match[str]) -> str:
        return f"<box>{[list(_box(numbers, size, unit, padded)) for numbers in BOX.findall(found[0])]}</box>"

    return {"from": turn["from"], "value": PLACE.sub(tagged, text) if unit else text}


def _unit(boxes: list[list[float]]) -> int:
    """1 or 1000, the side's length that all boxes of a text are measured by; 0 without a box; BoxFault where they differ."""
    if not boxes:
        return 0
    largest = max(max(box) for box in boxes)
    unit = 1 if largest <= 1 else SCALE
    if largest > SCALE or (unit == SCALE and any(number % 1 for box in boxes for number in box)):
        raise BoxFault("box_unit")
    return unit


def _box(found: Sequence[str], size: tuple[int, int] | None, unit: int, padded: bool) -> tuple[int, int, int, int]:
    numbers = [float(number) / unit for number in found]
    if not padded:
        return scaled_box(numbers, 1, 1)
    if size is None:
        raise _NoSize("no_size")
    side, (width, height) = max(size), size
    left, top = (side - width) / 2, (side - height) / 2  # of the original in the square
    shifted = [number * side - (top if i % 2 else left) for i, number in enumerate(numbers)]
    return scaled_box(shifted, width, height)
