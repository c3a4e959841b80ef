"""Copies by embeddings are those of comparing all in a cluster, to the bit on every machine."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.duplicates import semantic
from filters.duplicates.semantic import centroids, nearest, rounded, similar_copies


def embeddings(count: int, seed: int, kinds: int = 5, noise: float = 0.3) -> np.ndarray:
    """Normalised vectors about a few directions."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(kinds, 32))[rng.integers(0, kinds, count)] + noise * rng.normal(size=(count, 32))
    return rounded(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_products_are_exact_in_any_order() -> None:
    vectors = embeddings(400, 0)
    exact = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    shuffled = np.random.default_rng(1).permutation(vectors.shape[1])
    assert np.array_equal(vectors @ vectors.T, exact) and np.array_equal(vectors[:, shuffled] @ vectors[:, shuffled].T, exact)
    assert np.array_equal(rounded(vectors.astype(np.float16)), vectors)  # as they are shuffled


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 60), st.integers(0, 1000), st.floats(0.5, 1), st.integers(1, 30))
def test_copies_are_those_of_comparing_each_with_all_that_stay(count: int, seed: int, least: float, block: int) -> None:
    vectors, kept, expected = embeddings(count, seed), list[int](), []
    for row in range(count):
        near = [other for other in kept if vectors[row].astype(np.float64) @ vectors[other] >= np.float32(least)]
        expected += [(row, near[0])] if near else []
        kept += [] if near else [row]
    before, semantic.BLOCK = semantic.BLOCK, block
    try:
        copies, copy_of, cosines = similar_copies(vectors, least)
    finally:
        semantic.BLOCK = before
    assert sorted(zip(copies.tolist(), copy_of.tolist(), strict=True)) == expected
    assert (cosines >= np.float32(least)).all()


def test_clusters_are_those_of_the_directions() -> None:
    vectors = embeddings(500, 3, kinds=4, noise=0.05)
    means = centroids(vectors, 4)
    assert np.array_equal(means, centroids(vectors, 4)) and np.array_equal(means, rounded(means))
    cluster = nearest(vectors, means)
    same = (vectors @ vectors.T) > 0.8
    for row in range(len(vectors)):
        assert len(set(cluster[same[row]])) <= 2  # beginning with two means in one direction may leave it cut
