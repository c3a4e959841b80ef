"""The model of caption quality in NumPy: five small networks, one a part of the score, whose outputs are added.

Three of them read tokens: filters over three tokens and over one, then of each filter the largest and the mean answer. The trick:
captions of equal length are one array [tokens, captions, width], so that a filter is a product, a shift and a sum, and pooling
runs along memory. Filters over structures and forms, which are few, are tables of what each gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from filters.quality.features import PARTS, Features
from filters.text.vocabulary import vocabulary

PATH = Path(__file__).parent / "network.safetensors"
READERS = ("completeness", "information", "style")
GRADES = 4
CLIP = 3.0  # standard deviations of a statistic


def logits(features: Features) -> np.ndarray:
    """What each part adds to the log odds that a caption reaches each grade from 1 on: float32[N, PARTS, GRADES]."""
    weights = _weights()
    pooled = _pooled(features)
    result = np.empty((len(features.first) - 1, len(PARTS), GRADES), np.float32)
    for place, part in enumerate(PARTS):
        scaled = (features.statistics[part] - weights[f"{part}.mean"]) / weights[f"{part}.deviation"]
        inputs = np.clip(scaled, -CLIP, CLIP)
        if part in READERS:
            inputs = np.concatenate([pooled[part], inputs], axis=1)
        hidden = np.maximum(inputs @ weights[f"{part}.hidden"] + weights[f"{part}.hidden_bias"], 0)
        result[:, place] = hidden @ weights[f"{part}.out"] + weights[f"{part}.out_bias"]
    return result


def bias() -> np.ndarray:
    """What is added to the parts: the log odds of a caption of which every part is as in the mean: float32[GRADES]."""
    return _weights()["bias"]


def _pooled(features: Features) -> dict[str, np.ndarray]:
    """The answers of each reader's filters: float32[N, 2 F + F / 2]."""
    tables, captions = _tables(), len(features.first) - 1
    pooled = {part: np.zeros((captions, size), np.float32) for part, size in _sizes().items()}
    for rows, tokens in _of_equal_length(features.first):
        structures, forms = features.structures[tokens], features.forms[tokens]
        pooled["completeness"][rows] = _pool(tables["completeness"].take(structures, axis=0), *_biases("completeness"))
        pooled["style"][rows] = _pool(tables["style"].take(forms, axis=0), *_biases("style"))
        words = vocabulary().vectors.take(features.words[tokens], axis=0) @ tables["vectors"] + tables["no_bucket"]
        buckets = features.buckets[tokens]
        in_buckets = buckets > 0
        if in_buckets.any():
            words[in_buckets] += tables["buckets"].take(buckets[in_buckets], axis=0)
        pooled["information"][rows] = _pool(words, *_biases("information"))
    return pooled


def _of_equal_length(first: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The captions of each number of tokens L above 0: int64[M], and where their tokens are, int64[L, M]."""
    counts = np.diff(first)
    order = np.argsort(counts, kind="stable")
    edges = np.searchsorted(counts[order], np.arange(counts.max(initial=0) + 2))
    for length in range(1, len(edges) - 1):
        rows = order[edges[length] : edges[length + 1]]
        if len(rows):
            yield rows, first[rows][None] + np.arange(length)[:, None]


def _pool(answers: np.ndarray, three_bias: np.ndarray, one_bias: np.ndarray) -> np.ndarray:
    """Answers of filters to tokens → the largest and the mean over three tokens, the mean over one: float32[M, 2 F + F / 2].

    `answers`: float32[L, M, 3 F + F / 2], to the token before, in the middle and behind, and to a token alone.
    """
    size = len(three_bias)
    three = answers[..., size : 2 * size] + three_bias
    three[1:] += answers[:-1, :, :size]
    three[:-1] += answers[1:, :, 2 * size : 3 * size]
    np.maximum(three, 0, out=three)
    one = np.maximum(answers[..., 3 * size :] + one_bias, 0)
    return np.concatenate([three.max(axis=0), three.mean(axis=0), one.mean(axis=0)], axis=1)


@lru_cache(1)
def _weights() -> dict[str, np.ndarray]:
    return {name: values.astype(np.float32) for name, values in load_file(PATH).items()}


@lru_cache(1)
def _tables() -> dict[str, np.ndarray]:
    """What each structure, form and bucket gives to all filters, and the filters over vectors."""
    weights = _weights()
    filters = {part: np.concatenate([*weights[f"{part}.three"], weights[f"{part}.one"]], axis=1) for part in READERS}
    dimensions = vocabulary().vectors.shape[1]
    buckets = weights["buckets"] @ filters["information"][dimensions:]
    return {
        "completeness": weights["structures"] @ filters["completeness"],
        "style": weights["forms"] @ filters["style"],
        "vectors": filters["information"][:dimensions],
        "no_bucket": buckets[0],
        "buckets": buckets - buckets[0],
    }


def _sizes() -> dict[str, int]:
    return {part: 2 * len(three) + len(one) for part in READERS for three, one in [_biases(part)]}


def _biases(part: str) -> tuple[np.ndarray, np.ndarray]:
    weights = _weights()
    return weights[f"{part}.three_bias"], weights[f"{part}.one_bias"]
