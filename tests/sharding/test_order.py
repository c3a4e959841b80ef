"""The order of samples is a function of seed and position."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.order import Order, mix, permutation

GOLDEN = [(0, 0), (0, 4), (2, 1), (3, 2)]
SIZES = st.lists(st.integers(0, 12), min_size=1, max_size=20).filter(any)


def places(order: Order, first: int, last: int) -> list[tuple[int, int]]:
    shards, rows = order.at_many(np.arange(first, last))
    return list(zip(shards.tolist(), rows.tolist(), strict=True))


@settings(deadline=None)
@given(SIZES, st.integers(0, 2**63), st.integers(1, 6), st.integers(1, 5))
def test_every_epoch_has_every_sample_once(sizes: list[int], seed: int, window: int, run_length: int) -> None:
    order = Order(sizes, seed, window, run_length)
    for epoch in range(2):
        assert sorted(places(order, epoch * order.total, (epoch + 1) * order.total)) == [
            (shard, row) for shard, size in enumerate(sizes) for row in range(size)
        ]


@settings(deadline=None)
@given(SIZES, st.integers(1, 6), st.lists(st.integers(0, 500), max_size=30))
def test_positions_in_any_order_over_any_epochs_give_the_same_samples(
    sizes: list[int], window: int, positions: list[int]
) -> None:
    one_by_one = [places(Order(sizes, 5, window), position, position + 1)[0] for position in positions]
    shards, rows = Order(sizes, 5, window).at_many(np.array(positions, dtype=np.int64))
    assert list(zip(shards.tolist(), rows.tolist(), strict=True)) == one_by_one


def test_epochs_and_seeds_differ_and_the_shuffle_is_the_published_one() -> None:
    order = Order([50, 50], 7)
    first, second = places(order, 0, 100), places(order, 100, 200)
    assert sorted(first) == sorted(second) and first != second
    assert first != places(Order([50, 50], 8), 0, 100)
    # Golden: a change here reorders everybody's running training.
    assert permutation(8, 42).tolist() == [4, 7, 2, 0, 6, 1, 5, 3]
    assert places(Order([5, 0, 3, 4], 7, window=2), 15, 19) == GOLDEN


def test_runs_of_neighbours_are_shuffled_and_begin_elsewhere_in_another_epoch() -> None:
    order = Order([40] * 8, 3, window=4, run_length=8)
    begins = []
    for epoch in range(3):
        sequence = places(order, epoch * order.total, (epoch + 1) * order.total)
        follows = [second == (shard, row + 1) for (shard, row), second in itertools.pairwise(sequence)]
        # A shard's first and last run may be shorter, and one may come behind the other by chance.
        assert 8 * 32 <= sum(follows) <= 8 * 36
        begins.append({place for place, goes_on in zip(sequence[1:], follows, strict=True) if not goes_on})
    assert len(begins[0] & begins[1] & begins[2]) < len(begins[0]) / 2
    assert order.neighbour_distance() == pytest.approx(160 / 3, rel=0.3)


def test_neighbours_of_a_shard_come_as_far_apart_as_the_window_allows() -> None:
    far, near = (Order([100] * 64, 0, window).neighbour_distance() for window in (64, 4))
    assert far == pytest.approx(6400 / 3, rel=0.05) and near == pytest.approx(400 / 3, rel=0.1)
    assert Order([1, 1, 1], 0).neighbour_distance() == 0


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, min_size=2, max_size=50))
def test_mix_is_one_to_one(values: list[int]) -> None:
    assert len(set(mix(np.array(values, dtype=np.uint64), 3).tolist())) == len(values)
