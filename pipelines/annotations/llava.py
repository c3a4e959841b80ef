"""LLaVA's conversations, whose boxes are shares of the sides ([0.12, 0.3, 0.58, 0.9]) → the same with boxes of 0 … 1000.

Of which picture they are shares, sets do not say: of the original, or of the square that it was padded to (reported of the Visual
Genome boxes in LLaVA-1.5's mix). `padded` takes them as the latter; look at the page before you train.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.annotations.boxes import SCALE, BoxFault, scaled_box
from pipelines.annotations.reading import Entry, Tally, json_lines, picture_of

NUMBER = r"\s*(\d+(?:\.\d+)?)\s*"
BOX = re.compile(rf"\[{NUMBER},{NUMBER},{NUMBER},{NUMBER}\]")


def read_llava(uri: str, tally: Tally, padded: bool) -> Iterator[Entry]:
    """An entry for each with a picture whose boxes are all of one unit; texts without a box stay as they are."""
    for where, item in json_lines(uri, tally):
        turns = item.get("conversations")
        if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
            tally.refuse("no_text", where)
            continue
        named = picture_of(item, tally, where)
        if named is None:
            continue
        try:
            converted = [_converted(turn, named[1:], padded) for turn in turns]
        except BoxFault as fault:
            tally.refuse(str(fault), where)
            continue
        tally.counts["boxes"] += sum(turn["value"].count("<box>") for turn in converted)
        yield Entry(str(item.get("id", named[0])), *named, converted)


def _converted(turn: Mapping[str, Any], size: tuple[int, int], padded: bool) -> dict[str, str]:
    text = str(turn.get("value", turn.get("text", "")))
    boxes = [[float(number) for number in found] for found in BOX.findall(text)]
    unit = _unit(boxes)
    written = BOX.sub(lambda found: f"<box>[{list(_box(found.groups(), size, unit, padded))}]</box>", text) if unit else text
    return {"from": str(turn.get("from")), "value": written}


def _unit(boxes: list[list[float]]) -> int:
    """1 or 1000, the side's length that all boxes of a text are measured by; 0 without a box; BoxFault where they differ."""
    if not boxes:
        return 0
    largest = max(max(box) for box in boxes)
    unit = 1 if largest <= 1 else SCALE
    if largest > SCALE or (unit == SCALE and any(number % 1 for box in boxes for number in box)):
        raise BoxFault("box_unit")
    return unit


def _box(found: tuple[str, ...], size: tuple[int, int], unit: int, padded: bool) -> tuple[int, int, int, int]:
    numbers = [float(number) / unit for number in found]
    if not padded:
        return scaled_box(numbers, 1, 1)
    side, (width, height) = max(size), size
    left, top = (side - width) / 2, (side - height) / 2  # of the original in the square
    shifted = [number * side - (top if i % 2 else left) for i, number in enumerate(numbers)]
    return scaled_box(shifted, width, height)
