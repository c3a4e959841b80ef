"""Captions as their authors meant them: what publishing did to the text is undone before any rule judges it.

decoding.py   wrong encodings, HTML entities and tags, quotes that CSV doubled
endings.py    what sites put around a caption: stock-photo labels, credits, rights notices, "click to enlarge", file endings
cut_off.py    a tail that was cut in the middle of a clause: back to the last whole one

Words are only removed or decoded, never added; where nothing whole would be left, a caption stays as it is, for the rules to drop.

The trick: few captions need a repair. A search over the column for words that are quick to find selects them (HINTS), and the Python
of a step runs only on those that also match its own pattern. The steps are repeated on what they changed until none changes it: so a
repaired caption is not changed by a second repair. Every step on every caption would cost thirty times as much.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.text.repair import cut_off, decoding, endings

__all__ = ["repair"]

STEPS = (*decoding.STEPS, *endings.STEPS, *cut_off.STEPS)
# Every caption that a step may change matches one of these.
HINTS = (
    "|".join(f"(?:{step.where})" for step in decoding.STEPS),
    endings.HINTS,
    "|".join(f"(?:{step.where})" for step in cut_off.STEPS),
)


def repair(captions: pa.ChunkedArray) -> pa.Array:
    """Captions (string[N], none NULL) → the repaired ones, string[N], NULL where a caption needs no repair."""
    rows = np.flatnonzero(np.logical_or.reduce([_matches(captions, pattern) for pattern in HINTS]))
    texts = captions.take(pa.array(rows)).combine_chunks()
    changed_rows, changed = _repair_selected(texts)
    mask = np.zeros(len(captions), bool)
    mask[rows[changed_rows]] = True
    return pc.replace_with_mask(pa.nulls(len(captions), pa.string()), pa.array(mask), changed)


def _repair_selected(texts: pa.StringArray) -> tuple[np.ndarray, pa.StringArray]:
    """The rows whose text the steps change, int64[M] in order, and their texts once no step changes them any more.

    A change leaves fewer characters, or fewer that are control characters: so it ends.
    """
    after = _all_steps(texts)
    rows = np.flatnonzero(pc.not_equal(after, texts).to_numpy(zero_copy_only=False))
    current = after.take(pa.array(rows))
    if len(rows):
        again, changed = _repair_selected(current)
        mask = np.zeros(len(rows), bool)
        mask[again] = True
        current = pc.replace_with_mask(current, pa.array(mask), changed)
    return rows, current


def _all_steps(texts: pa.StringArray) -> pa.StringArray:
    """Each text (string[N]) after every step, once, in order."""
    for step in STEPS:
        mask = _matches(texts, step.where)
        if mask.any():
            fixed = [step.fix(text) for text in texts.filter(pa.array(mask)).to_pylist()]
            texts = pc.replace_with_mask(texts, pa.array(mask), pa.array(fixed, pa.string()))
    return texts


def _matches(captions: pa.Array | pa.ChunkedArray, pattern: str) -> np.ndarray:
    return np.asarray(pc.match_substring_regex(captions, pattern).to_numpy(zero_copy_only=False), bool)
