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
    filters, captions = _filters(), len(features.first) - 1
    pooled = {part: np.zeros((captions, _pooled_size(filters[part])), np.float32) for part in READERS}
    for rows, tokens in _of_equal_length(features.first):
        structures, forms = features.structures[tokens], features.forms[tokens]
        pooled["completeness"][rows] = _pool(*(table.take(structures, axis=0) for table in filters["completeness"]))
        pooled["style"][rows] = _pool(*(table.take(forms, axis=0) for table in filters["style"]))
        pooled["information"][rows] = _pool(*_answers_to_words(features.words[tokens], features.buckets[tokens]))
    return pooled


def _answers_to_words(words: np.ndarray, buckets: np.ndarray) -> Iterator[np.ndarray]:
    """Answers of the filters on meaning to M × L words, before, in the middle, behind and alone: float32[L, M, F] each."""
    vectors, in_buckets = vocabulary().vectors.take(words, axis=0), np.nonzero(buckets)
    for of_vectors, of_buckets in zip(_filters()["information"], _filters()["buckets"], strict=True):
        answers = vectors @ of_vectors + of_buckets[0]
        if len(in_buckets[0]):
            answers[in_buckets] += of_buckets.take(buckets[in_buckets], axis=0) - of_buckets[0]
        yield answers


def _of_equal_length(first: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The captions of each number of tokens L above 0: int64[M], and where their tokens are, int64[L, M]."""
    counts = np.diff(first)
    order = np.argsort(counts, kind="stable")
    edges = np.searchsorted(counts[order], np.arange(counts.max(initial=0) + 2))
    for length in range(1, len(edges) - 1):
        rows = order[edges[length] : edges[length + 1]]
        if len(rows):
            yield rows, first[rows][None] + np.arange(length)[:, None]


def _pool(before: np.ndarray, middle: np.ndarray, behind: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """Answers of filters to single tokens, each float32[L, M, F], `alone` [L, M, F / 2] → float32[M, 2 F + F / 2].

    That is the largest and the mean over three tokens, and the mean over one. Overwrites `middle` and `alone`.
    """
    middle[1:] += before[:-1]
    middle[:-1] += behind[1:]
    np.maximum(middle, 0, out=middle)
    np.maximum(alone, 0, out=alone)
    return np.concatenate([middle.max(axis=0), middle.mean(axis=0), alone.mean(axis=0)], axis=1)


@lru_cache(1)
def _weights() -> dict[str, np.ndarray]:
    return {name: values.astype(np.float32) for name, values in load_file(PATH).items()}


@lru_cache(1)
def _filters() -> dict[str, list[np.ndarray]]:
    """Of each reader the filters' weights for the token before, in the middle, behind and alone; tables of what they give, with
    the bias, for structures, forms and buckets, which are few.
    """
    weights, filters = _weights(), dict[str, list[np.ndarray]]()
    dimensions = vocabulary().vectors.shape[1]
    for part, inputs in (("completeness", "structures"), ("style", "forms"), ("information", "buckets")):
        own = [*weights[f"{part}.three"], weights[f"{part}.one"]]
        biases = [0, weights[f"{part}.three_bias"], 0, weights[f"{part}.one_bias"]]
        if part == "information":
            filters[part], own = [each[:dimensions] for each in own], [each[dimensions:] for each in own]
        tables = [weights[inputs] @ each + bias for each, bias in zip(own, biases, strict=True)]
        filters["buckets" if part == "information" else part] = tables
    return {name: [np.ascontiguousarray(each) for each in filters[name]] for name in filters}


def _pooled_size(filters: list[np.ndarray]) -> int:
    return int(2 * filters[0].shape[1] + filters[3].shape[1])
