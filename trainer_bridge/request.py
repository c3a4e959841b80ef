"""Faults of a request that can be told before a device is taken."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from infra.compat.errors import RequestError
from sharding.index import Dataset
from trainer_bridge.data.instructions.source import open_sets
from trainer_bridge.evaluation.shards import require_members
from trainer_bridge.ranks import rank_environment
from trainer_bridge.stages import Stage
from trainer_bridge.stages.settings import AnyExperiment, Experiment


def weighted(option: str) -> tuple[str, float]:
    """The URI and the weight in URI=WEIGHT; RequestError in one line when there is none, or it is no number above 0."""
    uri, _, number = option.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not uri or not 0 < weight < math.inf:
        raise RequestError(f"--mix {option} names no weight above 0; write URI=1 to take as many of its samples")
    return uri, weight


def trained_on(experiment: AnyExperiment, data: str, shards: str | None, mix: Sequence[str] = ()) -> AnyExperiment:
    """The experiment with the conversations of --data; RequestError when there are both these and shards, or neither, and when
    their annotations are not there or no JSON.

    mix  shards that are mixed into --shards, and into nothing else
    """
    settings = getattr(experiment, "conversations", None)
    if data and settings is None:
        raise RequestError("--data names conversations, which the stages chat and mono alone train on; give --shards")
    if settings is not None and data:
        settings = settings.model_copy(update={"data": data})
        experiment = experiment.model_copy(update={"conversations": settings})
    named = getattr(settings, "data", "")
    if named and shards:
        raise RequestError('--shards and conversations are both named; in the meta file shards are {"mine": {"shards": URI}}')
    if not named and not shards:
        raise RequestError("nothing to train on; give --shards URI" + (", or --data FILE of conversations" if settings else ""))
    if named and mix:
        raise RequestError('--mix adds to --shards; with conversations, name them in the meta file: {"mine": {"shards": URI}}')
    if named and rank_environment(os.environ)["LOCAL_RANK"] == "0":  # it finds where entries lie, for all of its machine
        open_sets(named)
    return experiment


def check_folders(out: Path, start: Path | None) -> None:
    """RequestError in one line when a run cannot write to `out`, or the model folder that it starts from is not there."""
    existing = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise RequestError(f"--out {out}: {existing} is a file; name a folder for the run")
    if start is not None and not start.exists():
        raise RequestError(f"--from {start} is not there; name a model's folder")


def check_request(stage: type[Stage], experiment: Experiment, datasets: Sequence[Dataset], world: int) -> None:
    """RequestError in one line when a stage cannot train on these shards, or in this many processes."""
    if world < 1:
        raise RequestError(f"--ranks {world} is no number of processes; give 1 or more")
    for batch in dict.fromkeys(phase.batch for phase in experiment.phases()):
        if batch % world:
            lower, upper = batch // world * world, -(-batch // world) * world
            nearest = f"{lower} or {upper}" if lower else str(upper)
            raise RequestError(f"data.batch = {batch} does not divide among {world} processes; set it to {nearest}")
    for dataset in datasets:
        require_members(dataset, "train", stage.trained_members, "which this stage trains on; index tars that have captions")
