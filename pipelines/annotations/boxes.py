"""Boxes as conversations have them: [x1, y1, x2, y2], integers of 0 … 1000 on both sides of the original picture.

Source: InternVL's documentation of grounding data, which rounds; tiles and thumbnails do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

SCALE = 1000
LARGEST = 1e9  # pixels; no picture has a greater side
SLACK = 0.01  # share of a side that a box may reach over it: annotators round, and draw over the edge
# reason → what it means, as the counts tell it
REASONS = {
    "box_not_numbers": "a box is not four finite numbers",
    "box_degenerate": "a box has no area at the scale of 0 … 1000",
    "box_outside": "a box lies outside its picture",
    "box_tiny": "a box lies within the first pixel of its picture: its corners are shares of the sides, not pixels",
    "box_unit": "boxes are neither all of 0 … 1 nor all of 0 … 1000",
}

Box = tuple[int, int, int, int]


class BoxFault(ValueError):
    """Why a box is none; its text is a key of REASONS."""


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a value of JSON is a number that a place in a picture can have."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def from_sides(box: object) -> list[float]:
    """COCO's left, top, width, height → corners (x1, y1, x2, y2); none where these are not four numbers."""
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_finite, box))):
        return []
    left, top, width, height = box
    return [left, top, left + width, top + height]


def scaled_box(corners: object, width: float, height: float) -> Box:
    """The box of corners (x1, y1, x2, y2) in a picture of these sides, in the same unit; BoxFault when there is none.

    What reaches a little over an edge is cut off there.
    """
    x1, y1, x2, y2 = (value / side for value, side in zip(_numbers(corners), (width, height, width, height), strict=True))
    if min(x1, y1) < -SLACK or max(x2, y2) > 1 + SLACK:
        raise BoxFault("box_outside")
    left, top, right, bottom = (round(min(max(share, 0), 1) * SCALE) for share in (x1, y1, x2, y2))
    if left >= right or top >= bottom:
        raise BoxFault("box_degenerate")
    return left, top, right, bottom


def pixel_box(corners: object, width: float, height: float) -> Box:
    """The same of corners in pixels; BoxFault too where they are shares of the sides: those lie in the first pixel."""
    x1, y1, x2, y2 = _numbers(corners)
    if 0 <= x1 < x2 <= 1 < width and 0 <= y1 < y2 <= 1 < height:
        raise BoxFault("box_tiny")
    return scaled_box(corners, width, height)


def _numbers(corners: object) -> tuple[float, float, float, float]:
    if not (isinstance(corners, Sequence) and len(corners) == 4 and all(map(is_finite, corners))):
        raise BoxFault("box_not_numbers")
    return float(corners[0]), float(corners[1]), float(corners[2]), float(corners[3])
