"""The saved states of one run, written and gone on from by all ranks together."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from torch import distributed as dist
from torch import nn

from sharding.index import Dataset
from trainer_bridge.checkpoints.states.folder import StateFolder
from trainer_bridge.checkpoints.states.from_rank_0 import from_rank_0
from trainer_bridge.checkpoints.states.state import newest_state, save_state, state_shapes
from trainer_bridge.run_folder import RunFolder
from trainer_bridge.stages import Stage
from trainer_bridge.stages.settings import Experiment
from trainer_bridge.zero_shares import add_moments, frozen_checksum, held_shares, share_weights, updates


def what_decides(stage: Stage, experiment: Experiment, datasets: Sequence[tuple[Dataset, float]]) -> dict[str, Any]:
    """What decides which samples come when, and as which numbers, by name; `datasets` with their weights."""
    samples = [
        [sum(shard.samples for shard in dataset.shards("train")), weight, dataset.is_shuffled] for dataset, weight in datasets
    ]
    shards = [[asdict(shard) for shard in dataset.shards("train")] for dataset, _ in datasets]
    phases, examples = experiment.phases(), stage.examples
    return {
        "--stage": type(stage).__module__.rpartition(".")[2],
        "data.batch": experiment.data.batch if len(phases) == 1 else [[phase.start, phase.batch] for phase in phases],
        "data.seed": experiment.data.seed,
        "data.window": experiment.data.window,
        "data.run_length": experiment.data.run_length,
        "[samples, weight, in random order] of the shards": samples,
        "the digest of the shards' names, sizes and checksums": _digest(shards),
        "the digest of the tokenizer's vocabulary": _digest(stage.tokenizer.get_vocab() if stage.tokenizer else {}),
        **({} if examples is None else {"[name, entries, share] of the conversations": examples.contents()}),
    }


def _digest(value: Any) -> str:
    """A short digest of what JSON can hold."""
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


class RunStates:
    """The states in a run's folder, of which the newest `keep` are kept.

    RequestError when the newest is of another model than `model`, which DeepSpeed does not wrap yet, or of another `run`, as
    `what_decides` describes it, and where nothing can be written.
    """

    def __init__(self, folder: RunFolder, model: nn.Module, run: dict[str, Any], keep: int) -> None:
        self.run_folder, self.folder, self.run, self.keep = folder, StateFolder(folder.states), run, keep
        self.shapes = state_shapes(model)
        self.newest = newest_state(self.folder)
        if self.newest is not None:
            self.newest.require_fit(self.shapes, run)
        from_rank_0(self.folder.require_writable)
        self._frozen: int | None = None
        self._saved = self.newest.progress["steps"] if self.newest else None

    def restore(self, engine: Any) -> dict[str, Any]:
        """Brings the engine to the newest state; returns the progress that was saved with it, empty where there is none."""
        self._frozen = frozen_checksum(engine)
        state = self.newest
        if state is None:
            return {}
        state.require_frozen(self._frozen)
        if state.moments:
            add_moments(engine, state.moments, state.updates)
        state.restore(self.folder, held_shares(engine))
        share_weights(engine)
        if dist.get_rank() == 0:
            sys.stderr.write(f"state      goes on from {state.path}, saved by {state.world} processes\n")
        return state.progress

    def save(self, engine: Any, progress: dict[str, Any]) -> None:
        """Saves the engine's state, and numbers of the trainer with it: `steps`, and what else `restore` is to return.

        What was saved after so many steps already is not saved again.
        """
        if progress["steps"] == self._saved:
            return
        self._saved = progress["steps"]
        document = {
            "progress": progress,
            "run": self.run,
            "updates": updates(engine),
            "frozen": self._frozen,
            "shapes": self.shapes,
        }
        self.run_folder.publish()  # before the state, so that metrics hold no fewer steps than it
        save_state(self.folder, held_shares(engine), document, self.keep)
