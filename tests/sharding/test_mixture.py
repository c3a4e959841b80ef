"""Datasets come in exact proportion, each in its own order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from sharding.mixture import Mixture, whole_weights

WEIGHTS = st.lists(st.sampled_from([0.1, 0.25, 0.5, 1, 2, 3, 7, 12.5]), min_size=1, max_size=7)


@settings(deadline=None)
@given(WEIGHTS)
def test_after_any_number_of_samples_each_dataset_is_within_one_of_its_share(weights: list[float]) -> None:
    count = 1500
    numbers, _ = Mixture(weights).at_many(np.arange(count))
    for number, weight in enumerate(weights):
        given_so_far = np.cumsum(numbers == number)
        assert np.abs(given_so_far - np.arange(1, count + 1) * (weight / sum(weights))).max() < 1


@settings(deadline=None)
@given(WEIGHTS, st.integers(0, 10**12))
def test_each_dataset_goes_through_its_own_order_without_a_gap(weights: list[float], first: int) -> None:
    mixture = Mixture(weights)
    numbers, own = mixture.at_many(np.arange(first, first + 700))
    for number in range(len(weights)):
        mine = own[numbers == number]
        assert (np.diff(mine) == 1).all()
    assert [mixture.at_many(np.array([first + i]))[1][0] for i in range(0, 700, 50)] == own[::50].tolist()


def test_weights_are_taken_as_they_are_written() -> None:
    assert whole_weights([0.1, 0.2]) == [1, 2] and whole_weights([3, 6, 9]) == [1, 2, 3] and whole_weights([0.7]) == [1]


@pytest.mark.parametrize(
    ("weights", "fault"),
    [
        ([], "none"),
        ([1, 0], "positive"),
        ([1, -1], "positive"),
        ([float("nan"), 1], "positive"),
        ([1, 3.14159265], "too many digits"),
    ],
)
def test_wrong_weights_are_refused(weights: list[float], fault: str) -> None:
    with pytest.raises(RequestError, match=fault):
        whole_weights(weights)
