"""How right answers are: each metric is a function of all answers and of what was to be answered.

An answer is right if it is as one of its references says. Texts are compared without regard to case, to spaces, and to a last
full stop.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from trainer_bridge.evaluation.cider import cider

References = Sequence[Sequence[str]]
TOLERANCE = 0.05  # of numbers in charts. Source: ChartQA (Masry et al. 2022)
LEAST_SIMILARITY = 0.5  # below which an answer is wrong. Source: ANLS of ST-VQA (Biten et al. 2019)
LEAST_OVERLAP = 0.5  # of boxes. Source: RefCOCO
NUMBER = r"-?\d+(?:\.\d+)?"
BOX = re.compile(rf"[\[(]\s*({NUMBER})\s*,\s*({NUMBER})\s*,\s*({NUMBER})\s*,\s*({NUMBER})\s*[\])]")

Box = tuple[float, float, float, float]


def exact(answers: Sequence[str], references: References) -> dict[str, float]:
    """The share of answers that are equal to a reference."""
    return {"exact": _best(answers, references, lambda answer, reference: float(_plain(answer) == _plain(reference)))}


def relaxed(answers: Sequence[str], references: References) -> dict[str, float]:
    """As exact, but a number may be 5 % off."""
    return {"relaxed_accuracy": _best(answers, references, _relaxed)}


def anls(answers: Sequence[str], references: References) -> dict[str, float]:
    """Mean similarity by edits, 1 where nothing is to edit, and 0 where half or more is."""
    return {"anls": _best(answers, references, _similar)}


def captions(answers: Sequence[str], references: References) -> dict[str, float]:
    """CIDEr-D over all answers, with words split as `cider.words` does."""
    return {"cider": cider(answers, references)}


def yes_no(answers: Sequence[str], references: References) -> dict[str, float]:
    """Accuracy; precision, recall and F1 of yes; the share of answers that say yes. Source: POPE (Li et al. 2023)."""
    said, true = (np.array([_says_yes(text) for text in texts], bool) for texts in (answers, [row[0] for row in references]))
    hits = float((said & true).sum())
    precision, recall = hits / max(1.0, float(said.sum())), hits / max(1.0, float(true.sum()))
    return {
        "accuracy": float((said == true).mean()),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(1e-9, precision + recall),
        "yes_ratio": float(said.mean()),
    }


def boxes(answers: Sequence[str], references: References) -> dict[str, float]:
    """The share of answers whose first box overlaps that of a reference by at least half (IoU)."""
    return {"box_accuracy": _best(answers, references, _overlapping)}


METRICS: dict[str, Callable[[Sequence[str], References], dict[str, float]]] = {
    "exact": exact,
    "relaxed": relaxed,
    "anls": anls,
    "cider": captions,
    "yes_no": yes_no,
    "boxes": boxes,
}


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    sides = [max(0.0, min(first[i + 2], second[i + 2]) - max(first[i], second[i])) for i in (0, 1)]
    areas = [max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]) for box in (first, second)]
    shared = sides[0] * sides[1]
    return shared / max(1e-9, sum(areas) - shared)


def first_box(text: str) -> Box | None:
    """The first [left, top, right, bottom] in a text; None where there is none."""
    found = BOX.search(text)
    if not found:
        return None
    left, top, right, bottom = (float(number) for number in found.groups())
    return left, top, right, bottom


def _best(answers: Sequence[str], references: References, score: Callable[[str, str], float]) -> float:
    """The mean over answers of the best score with a reference."""
    best = [max(score(answer, reference) for reference in row) for answer, row in zip(answers, references, strict=True)]
    return sum(best) / max(1, len(best))


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).removesuffix(".")


def _number(text: str) -> float | None:
    """The number that a text is, a percentage as a share; None where it is none."""
    plain = _plain(text).replace(",", "")
    try:
        number = float(plain.removesuffix("%")) / (100 if plain.endswith("%") else 1)
    except ValueError:
        return None
    return number if math.isfinite(number) else None  # "Nan" is a name


def _relaxed(answer: str, reference: str) -> float:
    said, true = _number(answer), _number(reference)
    if said is None or not true:
        return float(_plain(answer) == _plain(reference))
    return float(abs(said - true) / abs(true) <= TOLERANCE)


def _similar(answer: str, reference: str) -> float:
    said, true = _plain(answer), _plain(reference)
    similarity = 1 - _edits(said, true) / max(1, len(said), len(true))
    return similarity if similarity > LEAST_SIMILARITY else 0.0


def _edits(first: str, second: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, start=1):
        before, row[0] = row[0], i
        for j, right in enumerate(second, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]


def _says_yes(text: str) -> bool:
    """Whether a text says yes: POPE takes for no what has "no" or "not" in its first sentence."""
    words = re.findall(r"[a-z']+", text.partition(".")[0].lower())
    return not {"no", "not"} & set(words)


def _overlapping(answer: str, reference: str) -> float:
    said, true = first_box(answer), first_box(reference)
    return float(said is not None and true is not None and overlap(said, true) >= LEAST_OVERLAP)
