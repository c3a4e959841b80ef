"""Boxes as conversations have them: [x1, y1, x2, y2], integers of 0 … 1000 on both sides of the original picture.

Source: InternVL's documentation of grounding data, which rounds; tiles and thumbnails do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

SCALE = 1000
SLACK = 0.01  # share of a side that a box may reach over it: annotators round, and draw over the edge
# reason → what it means, as the counts tell it
REASONS = {
    "box_not_numbers": "a box is not four finite numbers",
    "box_degenerate": "a box has no area at the scale of 0 … 1000",
    "box_outside": "a box lies outside its picture",
    "box_unit": "boxes are neither all of 0 … 1 nor all of 0 … 1000",
}

Box = tuple[int, int, int, int]


class BoxFault(ValueError):
    """Why a box is none; its text is a key of REASONS."""


def scaled_box(corners: Sequence[object], width: float, height: float) -> Box:
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


def _numbers(corners: Sequence[object]) -> tuple[float, float, float, float]:
    numbers = [float(value) for value in corners if isinstance(value, (int, float)) and math.isfinite(value)]
    if len(numbers) != 4 or len(corners) != 4:
        raise BoxFault("box_not_numbers")
    return numbers[0], numbers[1], numbers[2], numbers[3]
