"""The model of caption quality in NumPy: five small networks, one a part of the score, whose outputs are added.

Three of them read tokens: filters over three tokens and over one, then of each filter the largest and the mean answer. The trick:
what a filter gives for a structure, a form or a word at each of its places stands in a table, so that no token is multiplied
with anything. `_pool.c` adds the rows of these tables where it was compiled; NumPy takes captions of equal length as one array
[tokens, captions, width], and twenty times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from filters.quality.features import PARTS, Features
from filters.text.vocabulary import vocabulary

try:
    import _pairmill_pool as compiled
except ImportError:  # installed where there is no C compiler
    compiled = None

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
    tables = _tables()
    none = np.zeros((0, 1), np.float32)
    return {
        "completeness": pool(features.first, features.structures, tables["completeness"], features.buckets, none),
        "information": pool(features.first, features.words, tables["information"], features.buckets, tables["buckets"]),
        "style": pool(features.first, features.forms, tables["style"], features.buckets, none),
    }


def pool(first: np.ndarray, rows: np.ndarray, table: np.ndarray, rows_of_more: np.ndarray, more: np.ndarray) -> np.ndarray:
    """What F filters over three tokens (largest and mean) and F / 2 over one (mean) answer to N captions of T tokens.

    first         where each caption's tokens begin: int64[N + 1]
    rows          of the table, for each token: an integer[T]
    table         what filters give for a token before, in the middle, behind and alone: float32[R, 3 F + F / 2]
    rows_of_more  rows of a second table that is added, where they are not 0; `more` is empty where there is none

    Returns float32[N, 2 F + F / 2], 0 for a caption without tokens.
    """
    if compiled is None:
        return pool_by_numpy(first, rows, table, rows_of_more, more)
    filters = _filters(table)
    pooled = np.empty((len(first) - 1, 2 * filters + filters // 2), np.float32)
    rows, rows_of_more = rows.astype(np.int32, copy=False), rows_of_more.astype(np.int32, copy=False)
    compiled.pool(first, filters, table, rows, more, rows_of_more, pooled)
    return pooled


def pool_by_numpy(
    first: np.ndarray, rows: np.ndarray, table: np.ndarray, rows_of_more: np.ndarray, more: np.ndarray
) -> np.ndarray:
    """The same as `pool`, in NumPy."""
    filters = _filters(table)
    pooled = np.zeros((len(first) - 1, 2 * filters + filters // 2), np.float32)
    for captions, tokens in _of_equal_length(first):
        answers = table.take(rows[tokens], axis=0)
        also = np.nonzero(rows_of_more[tokens]) if len(more) else ()
        if len(also) and len(also[0]):
            answers[also] += more.take(rows_of_more[tokens][also], axis=0)
        before, middle, behind, alone = np.split(answers, [filters, 2 * filters, 3 * filters], axis=2)
        middle[1:] += before[:-1]
        middle[:-1] += behind[1:]
        np.maximum(answers, 0, out=answers)
        pooled[captions] = np.concatenate([middle.max(axis=0), middle.mean(axis=0), alone.mean(axis=0)], axis=1)
    return pooled


def _filters(table: np.ndarray) -> int:
    """How many filters over three tokens a table is of."""
    return int(table.shape[1]) * 2 // 7


def _of_equal_length(first: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The captions of each number of tokens L above 0: int64[M], and where their tokens are, int64[L, M]."""
    counts = np.diff(first)
    order = np.argsort(counts, kind="stable")
    edges = np.searchsorted(counts[order], np.arange(counts.max(initial=0) + 2))
    for length in range(1, len(edges) - 1):
        rows = order[edges[length] : edges[length + 1]]
        if len(rows):
            yield rows, first[rows][None] + np.arange(length)[:, None]


@lru_cache(1)
def _weights() -> dict[str, np.ndarray]:
    return {name: values.astype(np.float32) for name, values in load_file(PATH).items()}


@lru_cache(1)
def _tables() -> dict[str, np.ndarray]:
    """What the filters of each reader give for each structure, form and word, with the bias, and for buckets: `pool`'s tables."""
    weights, tables = _weights(), dict[str, np.ndarray]()
    vectors = vocabulary().vectors
    for part, inputs in (("completeness", "structures"), ("style", "forms"), ("information", "buckets")):
        filters = np.concatenate([*weights[f"{part}.three"], weights[f"{part}.one"]], axis=1)
        three_bias, one_bias = weights[f"{part}.three_bias"], weights[f"{part}.one_bias"]
        bias = np.concatenate([np.zeros_like(three_bias), three_bias, np.zeros_like(three_bias), one_bias])
        of_words, of_inputs = (
            (filters[: vectors.shape[1]], filters[vectors.shape[1] :]) if part == "information" else (None, filters)
        )
        table = weights[inputs] @ of_inputs
        if of_words is not None:
            tables["buckets"] = table - table[0]  # most tokens have bucket 0, which so costs nothing
            none, table = table[0], vectors @ of_words
            table += none
        table += bias
        tables[part] = table
    return {name: np.ascontiguousarray(table, np.float32) for name, table in tables.items()}
