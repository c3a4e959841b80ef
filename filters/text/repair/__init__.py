"""Captions as their authors meant them: what publishing did to the text is undone before any rule judges it.

phrases.py     what a step is; whether a text that was cut can stand alone
decoding.py    wrong encodings, HTML entities and tags, quotes that CSV doubled
endings.py     what sites put around a caption: stock-photo labels, credits, rights notices, "click to enlarge", file endings
site_words.py  their words for it, in the languages of the web
cut_off.py     a tail that was cut in the middle of a clause: back to the last whole one

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


MOST_BYTES = 4096  # a longer text is no caption: a rule drops it for its length
MOST_ROUNDS = 16  # what still changes then is one ending over and over, no caption either


def repair(captions: pa.ChunkedArray) -> pa.Array:
    """Captions (string[N], none NULL) → the repaired ones, string[N], NULL where a caption needs no repair."""
    is_caption = pc.less_equal(pc.binary_length(captions), MOST_BYTES).to_numpy()
    rows = np.flatnonzero(is_caption & np.logical_or.reduce([_matches(captions, pattern) for pattern in HINTS]))
    texts = captions.take(pa.array(rows)).combine_chunks()
    repaired = np.full(len(captions), None, object)
    for _ in range(MOST_ROUNDS):
        after = _all_steps(texts)
        changed = np.flatnonzero(pc.not_equal(after, texts).to_numpy(zero_copy_only=False))
        rows, texts = rows[changed], after.take(pa.array(changed))
        if not len(rows):
            break
        repaired[rows] = texts.to_pylist()
    repaired[rows] = None
    return pa.array(repaired, pa.string())


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
