"""Lines of text with boxes → OCR conversations, in reading order: rows from top to bottom, each from left to right.

A line of the file is a picture: {image, width, height, lines: [{text, box}]}, the box as corners or as a polygon of points, in
pixels; PaddleOCR's names (`transcription`, `points`) are read too. Lines belong to one row where their middles are within half of
their height.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from pipelines.annotations.boxes import is_finite
from pipelines.annotations.phrases import Language, reading
from pipelines.annotations.reading import Entry, Tally, json_lines, picture_of

UNREADABLE = {"", "###", "*", "#"}  # what sets write for a text that nobody could read


class Line(NamedTuple):
    """A line of text, and where it lies, in pixels."""

    text: str
    left: float
    top: float
    bottom: float


def read_ocr(uri: str, language: Language, tally: Tally) -> Iterator[Entry]:
    """An entry for each picture that has a text."""
    for where, item in json_lines(uri, tally):
        named = picture_of(item, tally, where)
        if named is None:
            continue
        lines = in_reading_order(_lines(item, tally, where))
        if lines:
            tally.counts["lines"] += len(lines)
            yield Entry(str(item.get("id", named[0])), *named, reading([line.text for line in lines], language))
        else:
            tally.refuse("no_text", where)


def in_reading_order(lines: Sequence[Line]) -> list[Line]:
    """Rows from top to bottom, each from left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (line.top + line.bottom, line.left, line.text)):
        first = rows[-1][0] if rows else None
        if first and abs(_middle(line) - _middle(first)) < min(_height(line), _height(first)) / 2:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: (line.left, line.top, line.text))]


def _middle(line: Line) -> float:
    return (line.top + line.bottom) / 2


def _height(line: Line) -> float:
    return line.bottom - line.top


def _lines(item: Mapping[str, Any], tally: Tally, where: str) -> list[Line]:
    lines, given = [], item.get("lines") or item.get("label")
    for line in given if isinstance(given, list) else ():
        text = line.get("text", line.get("transcription")) if isinstance(line, Mapping) else None
        if not isinstance(text, str) or text.strip() in UNREADABLE:
            tally.refuse("no_text", where)
            continue
        points = _points(line.get("box", line.get("points", line.get("bbox"))))
        if points is None:
            tally.refuse("box_not_numbers", where)
            continue
        xs, ys = zip(*points, strict=True)
        lines.append(Line(text, min(xs), min(ys), max(ys)))
    return lines


def _points(box: Any) -> list[tuple[float, float]] | None:
    """The points of corners [x1, y1, x2, y2] or of a polygon; None where it is neither."""
    if not isinstance(box, list) or not box:
        return None
    pairs = box if all(isinstance(point, list) and len(point) == 2 for point in box) else [*zip_longest(box[::2], box[1::2])]
    numbers = [value for pair in pairs for value in pair]
    if len(pairs) < 2 or not all(map(is_finite, numbers)):
        return None
    return [(float(x), float(y)) for x, y in pairs]
