"""Ranks are those of a full comparison, however the work is cut; a model that tells nothing apart finds nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from trainer_bridge.evaluation import ranking, shares
from trainer_bridge.evaluation.ranking import ranks
from trainer_bridge.evaluation.shares import share_of


def slow_rank(query: torch.Tensor, group: int, candidates: torch.Tensor, groups: list[int]) -> int:
    similarity = [(float(query @ candidate), other == group) for candidate, other in zip(candidates, groups, strict=True)]
    best = max((value for value, right in similarity if right), default=float("-inf"))
    return sum(not value < best for value, right in similarity if not right)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(0, 999))
def test_ranks_are_those_of_a_full_comparison(queries: int, candidates: int, chunk: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    # Small whole numbers: sums are exact, and many similarities are equal.
    q, c = (torch.randint(-2, 3, (count, 3), generator=random).float() for count in (queries, candidates))
    q_groups, c_groups = (torch.randint(0, 4, (count,), generator=random) for count in (queries, candidates))
    before, ranking.CHUNK = ranking.CHUNK, chunk
    try:
        found = ranks(q, q_groups, c, c_groups)
    finally:
        ranking.CHUNK = before
    assert found.tolist() == [slow_rank(q[i], int(q_groups[i]), c, c_groups.tolist()) for i in range(queries)]


@pytest.mark.parametrize("feature", [1.0, float("nan")])
def test_a_model_that_tells_nothing_apart_finds_nothing(feature: float) -> None:
    features, groups = torch.full((20, 4), feature), torch.arange(20)
    assert ranks(features, groups, features, groups).tolist() == [19] * 20


def test_no_more_similarities_are_held_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    features, groups, largest = F.normalize(torch.randn(300, 4)), torch.arange(300), 0
    monkeypatch.setattr(ranking, "CHUNK", 3_000)
    original = torch.Tensor.__matmul__

    def watched(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        result = original(left, right)
        largest = max(largest, result.numel())
        return result

    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    assert ranks(features, groups, features, groups).sum() == 0
    assert 0 < largest <= 3_000


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 7), st.integers(0, 23), st.integers(1, 6))
def test_shares_of_all_ranks_are_the_whole_work_and_equally_long(world: int, count: int, batch: int) -> None:
    before, all_shares = (shares.rank, shares.world_size), []
    try:
        shares.world_size = lambda: world
        for rank in range(world):
            shares.rank = lambda rank=rank: rank
            all_shares.append(share_of(count))
    finally:
        shares.rank, shares.world_size = before
    assert np.concatenate([share.numbers for share in all_shares])[:count].tolist() == list(range(count))
    assert np.concatenate([share.numbers[share.counted] for share in all_shares]).tolist() == list(range(count))
    assert len({len(share.batches(batch)) for share in all_shares}) == 1
    assert all(number < max(1, count) for share in all_shares for number in share.numbers)
