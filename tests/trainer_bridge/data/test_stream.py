"""The loader as a dataset of torch gives the loader's batches: alone, in a DataLoader's workers, and after any stop."""

import itertools
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from infra.benchmarks.peers import peer
from sharding import Dataset
from tests import ROOT
from tests.support.shards import numbered_dataset
from trainer_bridge.data.loader import Loader
from trainer_bridge.data.stream import ShardStream

BATCH, STEPS = 8, 11


def number_and_draw(image: bytes, generator: np.random.Generator) -> np.ndarray:
    return np.array([[[int(image.split()[-1]), int(generator.integers(1 << 30))]]])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return numbered_dataset(tmp_path_factory.mktemp("shards"), [7, 9, 4])


def stream(dataset: Dataset, seed: int = 3, rank: int = 0, world: int = 1) -> ShardStream:
    return ShardStream(dataset, "train", BATCH, number_and_draw, seed, rank, world)


def keys(batch: dict[str, Any]) -> tuple:
    return batch["positions"], batch["sample_ids"], batch["captions"], batch["pixels"].flatten(1).tolist()


def expected(dataset: Dataset, first: int, last: int) -> list[tuple]:
    return [keys(vars(batch)) for batch in Loader(dataset, "train", BATCH, number_and_draw, 3).batches(first, last)]


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_a_data_loader_gives_the_batches_in_order_whatever_its_workers(dataset: Dataset, workers: int) -> None:
    loader = DataLoader(stream(dataset), batch_size=None, num_workers=workers)
    assert [keys(batch) for batch in itertools.islice(loader, STEPS)] == expected(dataset, 0, STEPS)


@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (2, 3)])
def test_the_state_after_a_batch_holds_for_any_workers_and_ranks(dataset: Dataset, before: int, after: int) -> None:
    stopped = stream(dataset)
    *_, last = itertools.islice(DataLoader(stopped, batch_size=None, num_workers=before), 4)
    state = stopped.state_after(last)
    assert state.keys() == {"seed", "epoch", "position"} and (state["epoch"], state["position"]) == divmod(4 * BATCH, 20)
    ranks = []
    for rank in range(2):
        resumed = stream(dataset, seed=0, rank=rank, world=2)
        resumed.load_state_dict(state)
        ranks.append(itertools.islice(DataLoader(resumed, batch_size=None, num_workers=after), STEPS - 4))
    joined = [tuple(a + b for a, b in zip(*map(keys, pair), strict=True)) for pair in zip(*ranks, strict=True)]
    assert joined == expected(dataset, 4, STEPS)


def test_a_stream_goes_on_where_its_own_state_says(dataset: Dataset) -> None:
    first = stream(dataset)
    batches = iter(first)
    taken = [keys(next(batches)) for _ in range(3)]
    second = stream(dataset, seed=9)
    second.load_state_dict(first.state_dict())
    taken += [keys(batch) for batch in itertools.islice(second, STEPS - 3)]
    assert taken == expected(dataset, 0, STEPS)


@pytest.mark.parametrize(("workers", "kept"), [(0, False), (2, False), (2, True)])
def test_every_iteration_begins_at_the_state_that_was_loaded_last(dataset: Dataset, workers: int, kept: bool) -> None:
    own = stream(dataset)
    loader = DataLoader(own, batch_size=None, num_workers=workers, persistent_workers=kept)
    for _ in range(2):
        taken = [*itertools.islice(loader, 3)]
        assert [keys(batch) for batch in taken] == expected(dataset, 0, 3)
    if not kept:  # workers that stay keep the dataset that they were given
        own.load_state_dict(own.state_after(taken[-1]))
        assert [keys(batch) for batch in itertools.islice(loader, 3)] == expected(dataset, 3, 6)


def test_several_datasets_are_mixed_and_resumed(dataset: Dataset, tmp_path: Path) -> None:
    mixed_in = [(numbered_dataset(tmp_path, [5, 3]), 0.5)]
    first, second = (ShardStream(dataset, "train", BATCH, number_and_draw, 3, 0, 1, mixed_in=mixed_in) for _ in range(2))
    taken = [*itertools.islice(first, 4)]
    second.load_state_dict(first.state_after(taken[-1]))
    resumed = itertools.islice(DataLoader(second, batch_size=None, num_workers=2), STEPS - 4)
    undisturbed = Loader(dataset, "train", BATCH, number_and_draw, 3, mixed_in=mixed_in).batches(0, STEPS)
    assert [keys(batch) for batch in (*taken, *resumed)] == [keys(vars(batch)) for batch in undisturbed]


@pytest.mark.parametrize(("position", "fault"), [(5, "no global batch of 8 starts at"), (24, "no state of 20 samples")])
def test_a_state_that_cannot_be_is_refused(dataset: Dataset, position: int, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        stream(dataset).load_state_dict({"seed": 0, "epoch": 0, "position": position})


STATEFUL = """
import itertools, sys
from torchdata.stateful_dataloader import StatefulDataLoader
from sharding import read_dataset
from tests.trainer_bridge.data.test_stream import STEPS, expected, keys, stream

if __name__ == "__main__":
    dataset = read_dataset(sys.argv[1])
    for workers, stop in itertools.product((0, 2, 3), (1, 2, 5)):
        stopped, resumed = (StatefulDataLoader(stream(dataset), batch_size=None, num_workers=workers) for _ in range(2))
        batches = iter(stopped)
        taken = [keys(next(batches)) for _ in range(stop)]
        resumed.load_state_dict(stopped.state_dict())
        taken += [keys(batch) for batch in itertools.islice(resumed, STEPS - stop)]
        assert taken == expected(dataset, 0, STEPS), (workers, stop)
    print("as undisturbed")
"""


@pytest.mark.slow
def test_torchdatas_stateful_loader_goes_on_exactly(dataset: Dataset, tmp_path: Path) -> None:
    script = tmp_path / "stateful.py"
    script.write_text(STATEFUL)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [str(peer("torchdata")), str(script), dataset.uri]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0 and "as undisturbed" in done.stdout, done.stderr[-2000:]
