"""Numbers of a sample are those of SplitMix64's hash, spread evenly, and unlike those of other samples, places and seeds."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer_bridge.models.draws import sample_seeds, seeds_of, uniform

CPU = torch.device("cpu")
WRAP = 2**64


def splitmix(x: int) -> int:
    """The finaliser, in Python's own integers."""
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) % WRAP
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) % WRAP
    return x ^ x >> 31


@given(st.integers(0, 2**62), st.lists(st.integers(0, 2**40), min_size=1, max_size=4))
def test_numbers_are_splitmix64s(seed: int, positions: list[int]) -> None:
    seeds = [splitmix((splitmix(seed) + position) % WRAP) for position in positions]
    assert [each % WRAP for each in sample_seeds(seed, positions, CPU).tolist()] == seeds
    drawn = uniform(seeds_of(5, sample_seeds(seed, positions, CPU)), 3)
    for row, each in zip(drawn.tolist(), seeds, strict=True):
        other = splitmix((each + 5) % WRAP)
        assert row == [(splitmix((other + i * 0x9E3779B97F4A7C15) % WRAP) >> 40) / 2**24 for i in (1, 2, 3)]


def test_numbers_are_even_and_unrelated() -> None:
    seeds = sample_seeds(0, range(4000), CPU)
    numbers = torch.cat([uniform(seeds, 4), uniform(seeds_of(1, seeds), 2), uniform(sample_seeds(1, range(4000), CPU), 2)], dim=1)
    assert (numbers >= 0).all() and (numbers < 1).all()
    assert numbers.mean(dim=0).tolist() == pytest.approx([0.5] * 8, abs=0.03)
    assert numbers.var(dim=0).tolist() == pytest.approx([1 / 12] * 8, abs=0.01)
    related = torch.corrcoef(torch.cat([numbers, numbers.roll(1, dims=0)], dim=1).T) - torch.eye(16)
    assert related.abs().max() < 0.08
