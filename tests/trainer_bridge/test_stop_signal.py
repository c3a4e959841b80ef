"""A run that gets SIGTERM saves its state after the step, and goes on from there as if it had never been stopped."""

import json
import os
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from infra.compat.errors import RequestError
from sharding import read_dataset
from tests.support.processes import one_process  # noqa: F401
from tests.trainer_bridge.test_train import CONFIG, losses, shards  # noqa: F401
from trainer_bridge.run_folder import RunFolder
from trainer_bridge.stages import find_stages
from trainer_bridge.stop_signal import StopSignal
from trainer_bridge.train import train

STEPS, STOPPED_AFTER = 8, 5


def test_a_signal_is_remembered_while_items_are_taken_and_has_its_old_effect_afterwards() -> None:
    stop, taken = StopSignal(), []
    before = signal.signal(signal.SIGTERM, lambda number, frame: taken.append("before"))
    try:
        for item in stop.watched(range(3)):
            taken.append(item)
            if item == 1:
                os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received and taken == [0, 1, 2]
        os.kill(os.getpid(), signal.SIGTERM)
        assert taken == [0, 1, 2, "before"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_stopped_run_goes_on_as_if_it_had_never_been_stopped(
    shards: Path,  # noqa: F811
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    kind = find_stages()["contrastive"]
    document = tomllib.loads(CONFIG)
    document["optimizer"]["steps"], document["data"]["drop_tokens"] = STEPS, 0.4
    dataset = read_dataset(str(shards))

    def run(out: Path, stop: int | None = None, seed: int = 0) -> bool:
        """Trains, with SIGTERM in the middle of a step where `stop` is its number."""
        out.mkdir(exist_ok=True)
        document["data"]["seed"] = seed
        experiment = kind.experiment_type.model_validate(document)
        torch.manual_seed(0)
        stage, steps = kind(experiment, dataset, shards / "stage1", out), 0
        computed = stage.losses

        def interrupted(*arguments: Any) -> Iterator[dict[str, torch.Tensor]]:
            nonlocal steps
            steps += 1
            if steps == stop:
                os.kill(os.getpid(), signal.SIGTERM)
            yield from computed(*arguments)

        stage.losses = interrupted
        return train(stage, experiment, [(dataset, 1.0)], RunFolder(str(out)), 0.0, one_process)

    assert run(tmp_path / "straight")
    stopped = tmp_path / "stopped"
    assert not run(stopped, STOPPED_AFTER)
    assert list(losses(stopped)) == list(range(STOPPED_AFTER))
    assert [path.name for path in (stopped / "state").iterdir()] == [f"step{STOPPED_AFTER:08d}"]
    assert not (stopped / "model").exists() and not (stopped / "summary.json").exists()
    with pytest.raises(RequestError, match=r"of another run: data\.seed was 0, and is 1; go on with these"):
        run(stopped, seed=1)
    assert run(stopped)
    assert losses(stopped) == losses(tmp_path / "straight")
    assert json.loads((stopped / "summary.json").read_text())["steps"] == STEPS
