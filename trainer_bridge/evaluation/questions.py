"""Questions about pictures with their answers, in the forms that benchmarks are published in: JSON lines or a JSON list."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from infra.compat.errors import RequestError
from sharding.lines import Lines
from trainer_bridge.data.instructions.dialogue import Dialogue, read_dialogue
from trainer_bridge.data.instructions.entries import FileEntries
from trainer_bridge.data.instructions.example import SampleFault
from trainer_bridge.data.instructions.source import parsed

QUESTION_KEYS = ("question", "text", "prompt", "sent")
ANSWER_KEYS = ("answer", "answers", "label", "caption", "captions", "gt_answer", "bbox")
# Of a phrase whose box is asked for. Source: InternVL's documents
BOX_PROMPT = "Please provide the bounding box coordinate of the region this sentence describes: <ref>{}</ref>"
BOX_SCALE = 1000  # of coordinates, whatever the picture's size


class Question(NamedTuple):
    """A question, the answers that are right, and where it lies; `dialogue` ends with an empty answer."""

    dialogue: Dialogue
    references: list[str]
    name: str


def read_questions(uri: str, suffix: str = "", limit: int = 0) -> list[Question]:
    """The questions of a file, each with `suffix` after it; RequestError names the entry that is none."""
    entries = FileEntries(Lines(uri))
    count = min(len(entries), limit or len(entries))
    questions = []
    for row, entry in enumerate(entries.read_many(range(count))):
        try:
            if isinstance(entry, Exception):
                raise SampleFault("missing", str(entry))
            questions.append(_question(parsed(entry.data), suffix, entries.name_of(row)))
        except SampleFault as fault:
            raise RequestError(str(fault.at(entries.name_of(row)))) from None
    if not questions:
        raise RequestError(f"{uri} has no questions; give JSON lines of image, question and answer")
    return questions


def _question(entry: Mapping[str, Any], suffix: str, name: str) -> Question:
    key = next((key for key in QUESTION_KEYS if isinstance(entry.get(key), str)), None)
    told = next((key for key in ANSWER_KEYS if entry.get(key) is not None), None)
    if key is None or told is None:
        raise SampleFault("turns", f"it has no question ({', '.join(QUESTION_KEYS)}) or no answer ({', '.join(ANSWER_KEYS)})")
    text = BOX_PROMPT.format(entry[key]) if key == "sent" else entry[key]
    turns = [{"from": "human", "value": f"{text}\n{suffix}" if suffix else text}, {"from": "gpt", "value": ""}]
    return Question(read_dialogue({**entry, "conversations": turns, "messages": None}), _references(entry, told), name)


def _references(entry: Mapping[str, Any], key: str) -> list[str]:
    """The right answers; of a box in pixels as [left, top, right, bottom] in thousandths of the picture."""
    value = entry[key]
    if key == "bbox":
        sizes = (entry.get("width"), entry.get("height"))
        numbers = [*sizes, *value] if isinstance(value, list) and len(value) == 4 else []
        finite = [number for number in numbers if isinstance(number, int | float) and math.isfinite(number)]
        if len(finite) < 6 or min(finite[:2]) <= 0:
            raise SampleFault("text", "its bbox needs four numbers, and width and height of the picture")
        return [str([round(number / finite[i % 2] * BOX_SCALE) for i, number in enumerate(finite[2:])])]
    values = value if isinstance(value, list) else [value]
    texts = [str(each["answer"]) if isinstance(each, Mapping) and "answer" in each else str(each) for each in values]
    if not texts:
        raise SampleFault("text", f"its {key} is empty")
    return [text.encode("utf-8", "replace").decode() for text in texts]
