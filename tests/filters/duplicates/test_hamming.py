"""The search within a Hamming distance gives what an exhaustive comparison gives, compiled or not, and misses nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.duplicates import hamming
from filters.duplicates.hamming import HammingIndex, build, compiled, key_bits, search, search_by_numpy, tabulate

SEARCHES = [search, search_by_numpy] if compiled is not None else [search_by_numpy]


def flipped(rng: np.random.Generator, hashes: np.ndarray, most: int) -> np.ndarray:
    """Each hash with 0 … most of its bits the other way round."""
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    for row in bits:
        row[rng.choice(len(row), rng.integers(0, most + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1).view(np.uint64)


def exhaustive(hashes: np.ndarray, queries: np.ndarray, radius: int) -> list[tuple[int, int, int]]:
    """(query, distance, row) of every pair within the radius, in order."""
    distances = np.bitwise_count(hashes[None] ^ queries[:, None]).sum(axis=2, dtype=int)
    pairs = zip(*(axis.tolist() for axis in np.nonzero(distances <= radius)), strict=True)
    return sorted((query, int(distances[query, row]), row) for query, row in pairs)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([1, 4]), st.integers(0, 300), st.integers(0, 40), st.integers(0, 16), st.integers(1, 40), st.integers(0, 999)
)
def test_matches_are_those_of_an_exhaustive_comparison(
    words: int, items: int, queries: int, radius: int, centres: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    centre = rng.integers(0, 2**64, (centres, words), np.uint64)
    hashes = flipped(rng, centre[rng.integers(0, centres, items)], 8 * words)
    near = flipped(rng, centre[rng.integers(0, centres, queries)], 8 * words)
    radius *= 1 if words == 1 else 3
    index, expected = build(hashes), exhaustive(hashes, near, radius)
    for function in SEARCHES:
        matches = function(index, near, radius)
        assert list(zip(*(part.tolist() for part in (matches.queries, matches.distances, matches.rows)), strict=True)) == expected


@pytest.mark.parametrize(("words", "radius"), [(1, 3), (1, 8), (1, 12), (4, 31)])
def test_no_item_within_the_radius_is_missed_among_many(words: int, radius: int) -> None:
    rng = np.random.default_rng(radius)
    hashes = rng.integers(0, 2**64, (1 << 17, words), np.uint64)
    copied = rng.integers(0, len(hashes), 200)
    matches = search(build(hashes), flipped(rng, hashes[copied], radius), radius)
    assert set(enumerate(copied.tolist())) <= set(zip(matches.queries.tolist(), matches.rows.tolist(), strict=True))


def test_more_matches_than_there_is_room_for_at_first_are_all_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "ROOM", 5)
    hashes = np.zeros((40, 1), np.uint64)
    matches = search(build(hashes), hashes[:7], 0)
    assert matches.queries.tolist() == np.repeat(range(7), 40).tolist() and matches.rows.tolist() == [*range(40)] * 7


@given(st.sampled_from([1, 4]), st.integers(1, 2000))
@settings(deadline=None, max_examples=20)
def test_a_table_lists_every_row_once_by_its_key(words: int, items: int) -> None:
    hashes = np.random.default_rng(items).integers(0, 2**64, (items, words), np.uint64)
    for table in range(hamming.TABLES[words]):
        starts, rows = tabulate(hashes, table)
        keys = hamming._keys(hashes, table, key_bits(items, words))
        assert sorted(rows.tolist()) == [*range(items)] and starts[-1] == items
        assert all((keys[rows[starts[key] : starts[key + 1]]] == key).all() for key in np.unique(keys))


@pytest.mark.skipif(compiled is None, reason="installed without a C compiler")
def test_tables_that_lie_lead_nowhere_outside_the_hashes() -> None:
    hashes = np.arange(64, dtype=np.uint64)[:, None]
    index = build(hashes)
    rng = np.random.default_rng(0)
    for _ in range(50):
        wrong = [rng.integers(0, 2**32, array.shape, np.uint32) for array in (index.starts, index.rows)]
        assert set(search(HammingIndex(hashes, *wrong), hashes, 12).rows.tolist()) <= set(range(64))
    with pytest.raises(ValueError, match="other shapes"):
        search(HammingIndex(hashes, index.starts, index.rows[:, 1:]), hashes, 3)
