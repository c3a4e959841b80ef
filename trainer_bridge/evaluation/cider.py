"""CIDEr-D: how much a caption says what several people say of a picture. Source: Vedantam et al., CVPR 2015, §5.

Runs of one to four words are weighted by how few pictures' references have them. Published figures split words by the Penn
Treebank's tokenizer, a Java program; ours splits at what is neither letter nor digit, and compares with our own figures alone.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

LONGEST = 4  # words of a run
SIGMA = 6.0  # of the penalty for another length, in words
SCALE = 10.0

Run = tuple[str, ...]
Vector = list[dict[Run, float]]


def words(text: str) -> list[str]:
    """The words of a text in lower case; characters of scripts without spaces are one each."""
    return re.findall(r"[぀-ヿ㐀-鿿가-힯]|[^\W_]+(?:'[^\W_]+)*", text.lower())


def cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """The mean over captions, each with its references: 0 … 10 SCALE in theory, about 1 for people."""
    told = [[words(text) for text in row] for row in references]
    seen = Counter(run for row in told for run in {run for text in row for run in _runs(text)})
    rarity = math.log(max(2, len(captions)))
    scores = []
    for caption, row in zip((words(text) for text in captions), told, strict=True):
        own = _vector(caption, seen, rarity)
        scores.append(sum(_similar(own, len(caption), _vector(text, seen, rarity), len(text)) for text in row) / len(row))
    return SCALE * sum(scores) / max(1, len(scores))


def _runs(text: Sequence[str]) -> Counter[Run]:
    """The runs of one to LONGEST words, counted."""
    return Counter(tuple(text[start : start + size]) for size in range(1, LONGEST + 1) for start in range(len(text) - size + 1))


def _vector(text: Sequence[str], seen: Counter[Run], rarity: float) -> Vector:
    """By the length of runs: each run and its weight."""
    vector: Vector = [{} for _ in range(LONGEST)]
    for run, count in _runs(text).items():
        vector[len(run) - 1][run] = count * (rarity - math.log(max(1.0, seen[run])))
    return vector


def _similar(caption: Vector, length: int, reference: Vector, reference_length: int) -> float:
    """The mean over the lengths of runs of a cosine in which no run of the caption counts more than the reference's."""
    penalty = math.exp(-((length - reference_length) ** 2) / (2 * SIGMA**2))
    total = 0.0
    for own, other in zip(caption, reference, strict=True):
        norm = math.sqrt(sum(weight**2 for weight in own.values()) * sum(weight**2 for weight in other.values()))
        shared = sum(min(weight, other[run]) * other[run] for run, weight in own.items() if run in other)
        total += shared / norm if norm else 0.0
    return penalty * total / LONGEST
