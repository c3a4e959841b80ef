"""The words of conversations about boxes and texts.

English forms of detection and grounding, and those of OCR in both languages, are published (InternVL's documentation and issues;
of OCR one of "dozens of templates"); the Chinese ones of detection and grounding are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pipelines.annotations.boxes import Box

Language = Literal["en", "zh"]
Turn = dict[str, str]

DETECT = {
    "en": (
        "Please detect and label all objects in the following image and mark their positions.",
        "Sure, I will detect and label all objects in the image and mark their positions.",
    ),
    "zh": ("请检测图中的所有物体，并标出它们的位置。", "好的，我会检测图中的所有物体，并标出它们的位置。"),
}
GROUND = {
    "en": "Please provide the bounding box coordinate of the region this sentence describes: <ref>{}</ref>",
    "zh": "请给出这句话所描述区域的边界框坐标：<ref>{}</ref>",
}
READ = {
    "en": ("Please recognize the text in the image", "The text in the image includes: "),
    "zh": ("请识别图中的文字", "图中的文字包括："),
}


def detection(found: Iterable[tuple[str, Sequence[Box]]], language: Language) -> list[Turn]:
    """Question and answer about objects: one line a class, with all of its boxes in one list."""
    question, answer = DETECT[language]
    return _turns(question, "\n".join([answer, *(located(label, boxes) for label, boxes in found)]))


def grounding(phrase: str, boxes: Sequence[Box], language: Language) -> list[Turn]:
    """Question and answer about where a phrase is."""
    return _turns(GROUND[language].format(plain(phrase)), located(phrase, boxes))


def reading(lines: Iterable[str], language: Language) -> list[Turn]:
    """Question and answer about the text in a picture, a line each.

    Boxes are left out, as in the published training: beside a frozen language model their numbers hardly converge.
    """
    question, answer = READ[language]
    return _turns(question, "\n".join([answer, *map(plain, lines)]))


def located(label: str, boxes: Sequence[Box]) -> str:
    """<ref>LABEL</ref><box>[[x1, y1, x2, y2], …]</box>; boxes from top to bottom, then from left to right."""
    listed = ", ".join(str(list(box)) for box in sorted(boxes, key=lambda box: (box[1], box[0], box[3], box[2])))
    return f"<ref>{plain(label)}</ref><box>[{listed}]</box>"


def plain(text: str) -> str:
    """A text of others in one line, without what would be read as a tag of ours."""
    one_line = " ".join(text.split())
    for tag in ("image", "ref", "box", "quad", "img", "IMG_CONTEXT"):
        one_line = one_line.replace(f"<{tag}>", f"< {tag}>").replace(f"</{tag}>", f"< /{tag}>")
    return one_line


def _turns(question: str, answer: str) -> list[Turn]:
    return [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
