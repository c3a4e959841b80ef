"""The model of caption quality in NumPy: five small networks, one a part of the score, whose outputs are added.

Three of them read tokens: filters over three tokens and over one, then of each filter the largest and the mean answer. The trick:
what a filter gives for a structure, a form or a word at each of its places stands in a table, so that no token is multiplied
with anything; in whole steps, in half the memory of floats. The table of words is made for each batch, of the words that it has:
that of all words would be a quarter of what a worker holds. `_pool.c` adds the rows of these tables where it was compiled; NumPy
takes captions of equal length as one array [tokens, captions, width], and twenty times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from filters.quality.features import PARTS, Features
from filters.text.vocabulary import VECTOR_STEPS, vocabulary

try:
    from _pairmill_pool import pool_steps as compiled
except ImportError:  # installed where there is no C compiler
    compiled = None

PATH = Path(__file__).parent / "network.safetensors"
READERS = ("completeness", "information", "style")
GRADES = 4
CLIP = 3.0  # standard deviations of a statistic
LARGEST = 2**15 - 1  # of the steps of a table
EXACT = 2**24  # whole numbers below this, and their sums, are exact in float32, in whichever order they are added
BLOCK = 1 << 10  # words whose filters are computed at a time


@dataclass(frozen=True)
class Table:
    """What F filters give for a token before, in the middle, behind and alone, in steps of `step`.

    rows  for each structure, form or word: int16[R, 3 F + F / 2]
    more  what each bucket adds, nothing for bucket 0; no rows for readers without buckets: int16[M, 3 F + F / 2]
    """

    rows: np.ndarray
    more: np.ndarray
    step: float

    @property
    def filters(self) -> int:
        """F."""
        return int(self.rows.shape[1]) * 2 // 7


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
        hidden = np.maximum(_product(inputs, weights[f"{part}.hidden"]) + weights[f"{part}.hidden_bias"], 0)
        result[:, place] = _product(hidden, weights[f"{part}.out"]) + weights[f"{part}.out_bias"]
    return result


def _product(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`rows` @ `weights`, of float32; each row's is the same wherever it stands.

    In which order BLAS adds depends on a row's place. Products are exact in double precision, and what the order changes there is
    lost when the sum is rounded.
    """
    return np.asarray((rows.astype(np.float64) @ weights.astype(np.float64)).astype(np.float32))


def bias() -> np.ndarray:
    """What is added to the parts: the log odds of a caption of which every part is as in the mean: float32[GRADES]."""
    return _weights()["bias"]


def _pooled(features: Features) -> dict[str, np.ndarray]:
    """The answers of each reader's filters: float32[N, 2 F + F / 2]."""
    words, rows = _words().table(features.words)
    read = {
        "completeness": (_tables()["completeness"], features.structures),
        "information": (words, rows),
        "style": (_tables()["style"], features.forms),
    }
    return {part: pool(features.first, places, table, features.buckets) for part, (table, places) in read.items()}


def pool(first: np.ndarray, rows: np.ndarray, table: Table, buckets: np.ndarray) -> np.ndarray:
    """What F filters over three tokens (largest and mean) and F / 2 over one (mean) answer to N captions of T tokens.

    first    where each caption's tokens begin: int64[N + 1]
    rows     of the table, for each token: an integer[T]
    buckets  rows of `table.more`, which are added where they are not 0: int32[T]

    Returns float32[N, 2 F + F / 2], 0 for a caption without tokens.
    """
    if compiled is None:
        return pool_by_numpy(first, rows, table, buckets)
    pooled = np.empty((len(first) - 1, 2 * table.filters + table.filters // 2), np.float32)
    rows, buckets = rows.astype(np.int32, copy=False), buckets.astype(np.int32, copy=False)
    compiled(first, table.filters, table.step, table.rows, rows, table.more, buckets, pooled)
    return pooled


def pool_by_numpy(first: np.ndarray, rows: np.ndarray, table: Table, buckets: np.ndarray) -> np.ndarray:
    """The same as `pool`, in NumPy."""
    filters = table.filters
    pooled = np.zeros((len(first) - 1, 2 * filters + filters // 2), np.float32)
    for captions, tokens in _of_equal_length(first):
        answers = table.rows.take(rows[tokens], axis=0).astype(np.float32)  # whole numbers, whose sums are exact
        also = np.nonzero(buckets[tokens]) if len(table.more) else ()
        if len(also) and len(also[0]):
            answers[also] += table.more.take(buckets[tokens][also], axis=0)
        before, middle, behind, alone = np.split(answers, [filters, 2 * filters, 3 * filters], axis=2)
        middle[1:] += before[:-1]
        middle[:-1] += behind[1:]
        np.maximum(answers, 0, out=answers)
        pooled[captions] = np.concatenate([middle.max(axis=0), middle.mean(axis=0), alone.mean(axis=0)], axis=1)
    return pooled * np.float32(table.step)


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
    return {name: values.astype(np.float32) if values.dtype == np.float16 else values for name, values in load_file(PATH).items()}


@dataclass(frozen=True)
class Words:
    """What a table of words is made of.

    vectors  int8[V + 1, DIM]
    filters  in whole steps, so few that every sum is exact: float32[DIM, 3 F + F / 2]
    scale    the size of a step of the sums
    bias     of each filter: float32[3 F + F / 2]
    more     of the table: what each bucket adds
    step     of the table
    """

    vectors: np.ndarray
    filters: np.ndarray
    scale: np.float32
    bias: np.ndarray
    more: np.ndarray
    step: float

    def table(self, words: np.ndarray) -> tuple[Table, np.ndarray]:
        """The table of the words that occur in T tokens (their places, int32[T]), and each token's row in it: int32[T]."""
        occurs = np.zeros(len(self.vectors), bool)
        occurs[words] = True
        present = np.flatnonzero(occurs)
        place = np.empty(len(self.vectors), np.int32)
        place[present] = np.arange(len(present), dtype=np.int32)
        rows = np.empty((len(present), len(self.bias)), np.int16)
        for start in range(0, len(present), BLOCK):
            block = slice(start, start + BLOCK)
            rows[block] = np.trunc(self.answers(self.vectors[present[block]]) / np.float32(self.step))
        return Table(rows, self.more, self.step), place.take(words)

    def answers(self, vectors: np.ndarray) -> np.ndarray:
        """What the filters give for words, given their vectors, int8[W, DIM]: float32[W, 3 F + F / 2]."""
        return np.asarray((vectors.astype(np.float32) @ self.filters) * self.scale + self.bias)


@lru_cache(1)
def _words() -> Words:
    filters, bias = _filters("information")
    vectors = vocabulary().vectors.copy()
    vectors[_weights()["moved.rows"]] = _weights()["moved.vectors"]  # where training has moved a word
    width = vectors.shape[1]
    own = _weights()["buckets"]
    answers = own @ filters[width:]  # most tokens have bucket 0, which so costs nothing
    bias, more = answers[0] + bias, answers - answers[0]
    finest = np.float32(EXACT // (width * 128) - 1) / np.abs(filters[:width]).max()
    whole, scale = np.round(filters[:width] * finest), 1 / (finest * np.float32(VECTOR_STEPS))
    words = Words(vectors, whole, scale, bias, more, 1.0)
    blocks = (vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK))
    largest = max(float(np.abs(words.answers(block)).max()) for block in blocks)
    step = _step(largest + float(np.abs(more).max()))  # of sums of both
    return replace(words, more=np.trunc(more / step).astype(np.int16), step=step)


@lru_cache(1)
def _tables() -> dict[str, Table]:
    """What the filters of two readers give for each structure and form, with the bias."""
    tables = dict[str, Table]()
    for part, inputs in (("completeness", "structures"), ("style", "forms")):
        filters, bias = _filters(part)
        answers = _weights()[inputs] @ filters + bias
        step = _step(float(np.abs(answers).max()))
        tables[part] = Table(np.trunc(answers / step).astype(np.int16), np.zeros((0, len(bias)), np.int16), step)
    return tables


def _filters(part: str) -> tuple[np.ndarray, np.ndarray]:
    """A reader's filters for what stands before, in the middle, behind and alone: [width, 3 F + F / 2]; and their bias."""
    weights = _weights()
    three_bias, one_bias = weights[f"{part}.three_bias"], weights[f"{part}.one_bias"]
    bias = np.concatenate([np.zeros_like(three_bias), three_bias, np.zeros_like(three_bias), one_bias])
    return np.concatenate([*weights[f"{part}.three"], weights[f"{part}.one"]], axis=1), bias


def _step(largest: float) -> float:
    """The size of a step of a table whose numbers are at most this."""
    return max(1e-6, largest) / LARGEST
