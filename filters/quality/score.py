"""Quality: how likely a caption is to say what its picture shows, from 0 (nothing) to 1 (describes a scene).

That it names what is seen, or better describes a scene, and, with half the weight, is no junk: junk may look like a sentence.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from filters.quality.features import PARTS, features_of
from filters.quality.network import bias, logits
from filters.text.characters import runs

# What reaching a grade adds: 3 names what is seen, 4 describes a scene; 1 and 2 are weak captions.
GRADE_WEIGHTS = {3: np.float32(0.4), 4: np.float32(0.6)}
# Captions that are surely no good differ by nothing of this; of them a product (2) is above a name or a headline (1).
WEAK_WEIGHT = np.float32(0.05)
ROWS = 1 << 11  # captions in a batch: what is known of their tokens fits in the processor's cache
# More digits would depend on the processor.
DIGITS, PART_DIGITS = 3, 2
PARTS_TYPE = pa.struct([(part, pa.float32()) for part in PARTS])


def quality(captions: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """Quality (float32[N]) and its parts (struct of PARTS, float32) of N captions, none NULL; all in 0 … 1.

    A part above 0.5 speaks for the caption, more than it does for the mean of the captions that the model was trained on.
    """
    batches = [_score(batch) for batch in runs(captions, ROWS)]
    scores = np.concatenate([np.zeros(0, np.float32), *(scores for scores, _ in batches)])
    parts = np.concatenate([np.zeros((0, len(PARTS)), np.float32), *(parts for _, parts in batches)])
    columns = [pa.array(column) for column in np.ascontiguousarray(parts.T)]
    return pa.array(scores), pa.StructArray.from_arrays(columns, fields=[*PARTS_TYPE])


def _score(captions: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """Quality and parts of a batch: float32[N], float32[N, PARTS]."""
    features = features_of(captions)
    added = logits(features)
    scores = score_of(_share(added.sum(axis=1) + bias()))
    scores[np.diff(features.first) == 0] = 0  # nothing to read
    return np.round(scores, DIGITS), np.round(_share(_weighted(added)), PART_DIGITS)


def score_of(reached: np.ndarray) -> np.ndarray:
    """How likely N captions reach each grade (float32[N, GRADES]) → their scores: float32[N]."""
    return np.asarray(np.maximum(_weighted(reached) * np.sqrt(reached[:, 0]), WEAK_WEIGHT * reached[:, 1]))


def _weighted(grades: np.ndarray) -> np.ndarray:
    """Sums over the last axis, GRADES, each by its weight; not by BLAS, whose order depends on the place."""
    return np.asarray(sum(grades[..., grade - 1] * weight for grade, weight in GRADE_WEIGHTS.items()))


def _share(odds: np.ndarray) -> np.ndarray:
    """Log odds → probabilities."""
    return np.asarray(1 / (1 + np.exp(-odds)), np.float32)
