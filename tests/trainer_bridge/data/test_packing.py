"""Packs hold every sample once, within their limits, evenly over ranks, and by the sizes of the global batch alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer_bridge.data.packing import pack

SIZES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)), min_size=1, max_size=60)


@given(SIZES, st.sampled_from([1, 2, 3, 8]), st.integers(60, 200), st.integers(1, 12))
def test_every_sample_is_in_one_pack_within_the_limits(sizes: list[tuple[int, int]], ranks: int, tokens: int, tiles: int) -> None:
    table = np.array(sizes)
    table[table[:, 0] == 0] = 0
    packs = pack(table[:, 0], table[:, 1], tokens, tiles, ranks)
    assert (packs.of < 0).tolist() == (table[:, 0] == 0).tolist()
    assert len(packs.tokens) == packs.per_rank * ranks and set(packs.owner.tolist()) <= {*range(ranks), -1}
    for number in range(len(packs.tokens)):
        members = table[packs.of == number]
        assert members.sum(axis=0).tolist() == [packs.tokens[number], packs.tiles[number]]
        assert len(members) == 1 or (packs.tokens[number] <= tokens and packs.tiles[number] <= tiles)
    again = pack(table[:, 0], table[:, 1], tokens, tiles, ranks)
    assert packs.of.tolist() == again.of.tolist() and 0 <= packs.waste < 1


def test_a_mix_of_short_conversations_wastes_little_on_any_number_of_ranks() -> None:
    draws = np.random.default_rng(0)
    for ranks in (1, 2, 8, 32):
        tokens = draws.lognormal(5, 0.8, 64 * ranks).astype(int).clip(20, 2048)
        tiles = draws.integers(0, 3, len(tokens))
        packs = pack(tokens, tiles, 4096, 24, ranks)
        assert packs.waste < 0.05, (ranks, packs.waste)
        by_rank = packs.tiles.reshape(-1, ranks).sum(axis=0)
        assert by_rank.max() - by_rank.min() <= 0.2 * by_rank.mean() + 4


def test_the_packs_of_a_table() -> None:
    packs = pack(np.array([50, 0, 30, 20, 40, 60]), np.array([1, 0, 1, 0, 1, 1]), 110, 3, 2)
    assert packs.of.tolist() == [0, -1, 0, 0, 1, 1] and packs.owner.tolist() == [0, -1, 0, 0, 1, 1]
    assert packs.tokens.tolist() == [100, 100] and packs.tiles.tolist() == [2, 2] and packs.waste == 0


TILES = {  # of conversations, by draws and their number
    "text": lambda draws, count: np.zeros(count, np.int64),
    "one picture": lambda draws, count: draws.integers(1, 8, count),
    "up to two tiles": lambda draws, count: draws.integers(0, 3, count),
    "up to 13 tiles": lambda draws, count: draws.integers(0, 14, count),
    "half of them text": lambda draws, count: np.where(draws.random(count) < 0.5, 0, draws.integers(1, 8, count)),
}


@pytest.mark.parametrize("mix", TILES)
@pytest.mark.parametrize("samples", [8, 64])
def test_of_any_mix_that_can_be_even_64_ranks_wait_for_little(mix: str, samples: int) -> None:
    ranks = 64
    for seed in range(4):
        draws = np.random.default_rng(seed)
        tiles = TILES[mix](draws, samples * ranks)
        tokens = draws.lognormal(5, 0.8, len(tiles)).astype(int).clip(20, 1024) + 256 * tiles
        assert tokens.max() < tokens.sum() / ranks  # no conversation is longer than a rank's share
        packs = pack(tokens, tiles, 16384, 48, ranks)
        assert packs.waste < 0.02, (seed, packs.waste)
        by_rank = packs.tiles.reshape(-1, ranks).sum(axis=0)
        assert by_rank.max() <= 1.1 * by_rank.mean() + 2, (seed, by_rank.max(), by_rank.mean())


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_of_eight_packs_64_ranks_wait_for_less_than_a_hundredth_with_even_tiles(share: float) -> None:
    draws = np.random.default_rng(0)
    tiles = np.where(draws.random(64 * int(60 / share**0.7)) < share, 13, 0)
    tokens = draws.lognormal(4, 0.8, len(tiles)).astype(int).clip(20, 1024) + 256 * tiles
    packs = pack(tokens, tiles, 16384, 48, 64)
    by_rank = packs.tiles.reshape(-1, 64).sum(axis=0)
    assert packs.per_rank >= 8 and packs.waste < 0.01, (packs.per_rank, packs.waste)
    assert by_rank.max() <= 1.05 * by_rank.mean(), (by_rank.max(), by_rank.mean())


def test_ranks_wait_for_a_conversation_that_is_longer_than_their_share() -> None:
    tokens = np.array([400, *[100] * 12])
    assert pack(tokens, np.zeros(13, np.int64), 1000, 4, 8).waste == 0.5


def test_a_sample_with_more_tiles_than_a_pack_has_one_of_its_own() -> None:
    packs = pack(np.array([10, 10, 10]), np.array([9, 1, 1]), 100, 4, 1)
    assert packs.tiles.max() == 9 and (packs.of == packs.of[0]).sum() == 1
