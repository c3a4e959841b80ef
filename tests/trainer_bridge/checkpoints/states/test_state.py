"""Numbers divided among ranks in any way are restored to ranks that divide them in any other way."""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from infra.compat.errors import RequestError
from trainer_bridge.checkpoints.states.folder import StateFolder
from trainer_bridge.checkpoints.states.share import WEIGHT, Share
from trainer_bridge.checkpoints.states.state import SavedState, finish_state, read_state, saved_state, write_shares

KINDS = (WEIGHT, "exp_avg", "exp_avg_sq")
SHAPES = {"tower.weight": [7, 3], "tower.bias": [5], "scale": [1], "count": []}
COUNT = sum(map(math.prod, SHAPES.values()))
DOCUMENT = {"progress": {"steps": 3}, "run": {"data.batch": 8}, "updates": 3, "frozen": 1, "shapes": SHAPES}
CUTS = st.lists(st.integers(0, COUNT), max_size=4).map(sorted)  # of all numbers, laid end to end


def numbers() -> dict[str, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return {name: {kind: torch.randn(math.prod(s), generator=generator) for kind in KINDS} for name, s in SHAPES.items()}


def divided(values: dict[str, dict[str, Tensor]], cuts: list[int]) -> list[list[Share]]:
    """The shares of each rank, where ranks hold stretches of the numbers that end at `cuts`."""
    borders, ranks = [0, *cuts, COUNT], []
    for first, last in pairwise(borders):
        shares, place = [], 0
        for name, kinds in values.items():
            count = math.prod(SHAPES[name])
            start, end = max(first - place, 0), min(last - place, count)
            if start < end:
                tensors = {kind: tensor[start:end] for kind, tensor in kinds.items()}
                shares.append(Share(name, tuple(SHAPES[name]), start, tensors))
            place += count
        ranks.append(shares)
    return ranks


def save(folder: StateFolder, ranks: list[list[Share]]) -> None:
    for rank, shares in enumerate(ranks):
        write_shares(folder, 3, shares, rank, len(ranks))
    finish_state(folder, DOCUMENT, len(ranks), keep=1)


def newest(folder: StateFolder) -> SavedState:
    document = read_state(folder)
    assert document is not None
    return saved_state(document)


@settings(deadline=None, max_examples=30)
@given(CUTS, CUTS)
def test_any_division_is_restored_to_any_other(tmp_path_factory: pytest.TempPathFactory, before: list, after: list) -> None:
    folder, values = StateFolder(str(tmp_path_factory.mktemp("state"))), numbers()
    save(folder, divided(values, before))
    restored = {name: {kind: torch.zeros(len(tensor)) for kind, tensor in kinds.items()} for name, kinds in values.items()}
    state = newest(folder)
    for shares in divided(restored, after):
        state.restore(folder, shares)
    assert all(torch.equal(restored[name][kind], tensor) for name, kinds in values.items() for kind, tensor in kinds.items())
    assert state.moments == {"exp_avg", "exp_avg_sq"} and state.progress == {"steps": 3}


@pytest.mark.parametrize("world", [1, 2, 3, 40])
def test_what_every_rank_holds_is_saved_once(tmp_path: Path, world: int) -> None:
    folder, values = StateFolder(str(tmp_path)), numbers()
    whole = [Share(name, tuple(SHAPES[name]), 0, kinds, on_others=True) for name, kinds in values.items()]
    save(folder, [whole] * world)
    saved = sum(run.end - run.start for kinds in newest(folder).runs.values() for runs in kinds.values() for run in runs)
    assert saved == COUNT * len(KINDS)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StateFolder]:
    folder = StateFolder(str(tmp_path / "state"))
    save(folder, divided(numbers(), [11, 20]))
    yield folder


@pytest.mark.parametrize(
    "shapes, run, message",
    [
        ({**SHAPES, "scale": [2]}, {}, r"another model: misshapen: scale is \[1\], not \[2\]; train the model"),
        ({**SHAPES, "new": [2]}, {}, "another model: missing: new;"),
        ({"scale": [1]}, {}, "another model: unexpected: tower.weight, tower.bias, count;"),
        (SHAPES, {"data.batch": 16}, "another run: data.batch was 8, and is 16;"),
    ],
)
def test_a_state_of_another_model_or_run_is_refused_in_one_line(
    folder: StateFolder, shapes: dict, run: dict, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        newest(folder).require_fit(shapes, run)
    assert "\n" not in str(caught.value) and "step00000003" in str(caught.value)
    newest(folder).require_fit(SHAPES, {"data.batch": 8})


def test_a_state_that_lacks_numbers_is_refused(tmp_path: Path) -> None:
    ranks = divided(numbers(), [11, 20])
    for lost in (ranks[0][0], ranks[1][0], ranks[-1][-1]):
        folder = StateFolder(str(tmp_path / lost.name / str(lost.start)))
        save(folder, [[share for share in shares if share is not lost] for shares in ranks])
        with pytest.raises(RequestError, match=f"is broken: it lacks a part of .*:{lost.name}"):
            read_state(folder)
