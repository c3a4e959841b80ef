"""Near embeddings: clusters of them, and copies within a cluster.

The trick: embeddings are rounded to multiples of 2^-11. Products of these are multiples of 2^-22, and their sums stay below 2 as
the vectors are normalised, so a float32 holds each of them exactly: a matrix product gives the same bits in any order, on any
machine. A cosine is then off by some 0.0002.

Source: Abbas et al., SemDeDup: Data-efficient learning at web-scale through semantic deduplication (2023), which compares the
members of each cluster of a k-means; of near ones we keep that of the lowest rank.
"""

from __future__ import annotations

import numpy as np

from filters.duplicates.index import keep_first

STEP = np.float32(1 / 2048)
ROUNDS = 10  # of k-means
BLOCK = 1024  # vectors compared at once


def rounded(vectors: np.ndarray) -> np.ndarray:
    """L2-normalised vectors[N, D] (any real dtype) in multiples of STEP: float32[N, D]."""
    steps: np.ndarray = np.rint(vectors.astype(np.float32) / STEP)
    return steps * STEP


def centroids(vectors: np.ndarray, count: int) -> np.ndarray:
    """Spherical k-means of rounded float32[N, D]: the normalised, rounded means of `count` clusters at most, float32[K, D].

    It begins with evenly spaced vectors, so the same vectors in the same order give the same clusters.
    """
    means = vectors[np.linspace(0, len(vectors) - 1, min(count, len(vectors))).astype(np.int64)]
    for _ in range(ROUNDS):
        cluster = nearest(vectors, means)
        order = np.argsort(cluster, kind="stable")
        filled, starts = np.unique(cluster[order], return_index=True)
        # Sums of multiples of STEP: exact in float64.
        sums = np.add.reduceat(vectors[order].astype(np.float64), starts, axis=0)
        norms = np.sqrt((sums**2).sum(axis=1, keepdims=True))
        moved = means.copy()
        moved[filled] = rounded(sums / np.maximum(norms, np.finfo(np.float64).tiny))
        if np.array_equal(moved, means):
            break
        means = moved
    return means


def nearest(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of rounded float32[N, D] the row of float32[K, D] of the largest cosine, the first of equal ones: int64[N]."""
    blocks = [(vectors[first : first + BLOCK] @ others.T).argmax(axis=1) for first in range(0, len(vectors), BLOCK)]
    return np.concatenate([np.zeros(0, np.int64), *blocks])


def most_similar(vectors: np.ndarray, others: np.ndarray, block: int = 1 << 16) -> tuple[np.ndarray, np.ndarray]:
    """For each of rounded float32[N, D] the row of others[K, D] (any real dtype, which may be mapped) of the largest cosine, the
    first of equal ones, int64[N], and that cosine, float32[N].
    """
    row, cosine = np.zeros(len(vectors), np.int64), np.full(len(vectors), -1, np.float32)
    for first in range(0, len(others), block):
        some = rounded(others[first : first + block])
        best = nearest(vectors, some)
        cosines = np.einsum("nd,nd->n", vectors, some[best])
        is_nearer = cosines > cosine
        row[is_nearer], cosine[is_nearer] = first + best[is_nearer], cosines[is_nearer]
    return row, cosine


def similar_copies(vectors: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The copies among rounded float32[N, D], by rank: rows whose cosine with an earlier row that stays is `least` or more.

    Returns the row of each copy and the first row that it is near, int64[C], and their cosine, float32[C]. Only rows that stay
    are compared with later ones, so many copies of a few pictures are soon done.
    """
    stays, found = np.zeros(0, np.int64), []
    for first in range(0, len(vectors), BLOCK):
        block = vectors[first : first + BLOCK]
        rows = np.arange(first, first + len(block))
        near = block @ vectors[stays].T >= least if len(stays) else np.zeros((len(block), 0), bool)
        is_copy = near.any(axis=1)
        found.append(np.stack([rows[is_copy], stays[near[is_copy].argmax(axis=1)] if is_copy.any() else rows[:0]]))
        left = rows[~is_copy]
        second, one = np.nonzero(np.tril(vectors[left] @ vectors[left].T >= least, -1))
        copy_of = keep_first(one, second, len(left))
        found.append(np.stack([left[copy_of >= 0], left[copy_of[copy_of >= 0]]]))
        stays = np.append(stays, left[copy_of < 0])
    copies, copy_of = np.concatenate([np.zeros((2, 0), np.int64), *found], axis=1)
    return copies, copy_of, (vectors[copies] * vectors[copy_of]).sum(axis=1, dtype=np.float64).astype(np.float32)
