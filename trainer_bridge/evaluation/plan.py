"""The evaluations of an experiment: checked before a device is taken, run during training and at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from infra.compat.errors import RequestError
from sharding.index import Dataset
from trainer_bridge.evaluation.classes import prompt_sets, read_classes
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.evaluator import Evaluator
from trainer_bridge.evaluation.layouts import read_folder
from trainer_bridge.evaluation.settings import EvaluationSettings
from trainer_bridge.evaluation.shards import CLASS_MEMBER, open_shards, require_members, shard_set

HELDOUT = "heldout"


class Evaluation(NamedTuple):
    """Figures of some kinds on one set. `load` gives the set; every rank calls it, on its device, and it is kept."""

    name: str
    kinds: tuple[str, ...]
    load: Callable[[torch.device], EvaluationSet]

    def figures(self, evaluator: Evaluator) -> dict[str, Any]:
        """The figures, the same on every rank; RequestError names the evaluation."""
        figures: dict[str, Any] = {}
        try:
            for kind in self.kinds:
                figures |= evaluator.figures(kind, self.load(evaluator.device))
        except RequestError as error:
            raise RequestError(f"evaluation {self.name}: {error}") from None
        return figures


def plan_evaluations(
    tables: Sequence[EvaluationSettings], evaluator: type[Evaluator], trained_on: Dataset | None = None
) -> list[Evaluation]:
    """The evaluations of the tables; before them that on the held-out captions of the shards trained on, where there are any.

    Reads no samples of shards. RequestError in one line when a set is not there, or the stage has no such figures.
    """
    evaluations = []
    if trained_on is not None and HELDOUT in trained_on.splits:
        with suppress(RequestError):  # without captions it has no figures, which is no fault of the request
            evaluations.append(_on_shards(HELDOUT, evaluator.heldout, trained_on, EvaluationSettings(), evaluator.samples))
    for table in tables:
        name = table.name or Path(table.place.rstrip("/")).name
        if bool(table.shards) == bool(table.data):
            raise RequestError(f"evaluation {name}: set one of shards (a URI) and data (a folder)")
        if name in {evaluation.name for evaluation in evaluations}:
            raise RequestError(f"two evaluations are called {name!r}; give each a name of its own")
        kinds = (table.kind,) if table.kind else evaluator.heldout
        if table.shards:
            evaluation = _on_shards(name, kinds, open_shards(table.shards), table, evaluator.samples)
        else:
            evaluation = _on_folder(name, kinds, table)
        if missing := set(evaluation.kinds) - set(evaluator.kinds):
            raise RequestError(f"evaluation {name}: this stage computes {', '.join(evaluator.kinds)}, not {missing.pop()}")
        evaluations.append(evaluation)
    return evaluations


def _on_shards(name: str, kinds: tuple[str, ...], dataset: Dataset, table: EvaluationSettings, samples: int) -> Evaluation:
    split, names = table.split or HELDOUT, read_classes(table.classes) if table.classes else {}
    dataset.shards(split)
    if "classification" in kinds:
        require_members(dataset, split, (CLASS_MEMBER, "json"), f"which evaluation {name} reads classes from")
        if not names:
            raise RequestError(f"evaluation {name}: shards do not name their classes; give a file of names as classes")
    if {"retrieval", "captions", "matching"} & set(kinds):
        require_members(dataset, split, ("text",), f"which evaluation {name} needs; choose another kind")
    most = samples if table.samples is None else table.samples

    @cache
    def load(device: torch.device) -> EvaluationSet:
        return replace(shard_set(dataset, split, most, device, table.by_language), names=names)

    return Evaluation(name, kinds, load)


def _on_folder(name: str, kinds: tuple[str, ...], table: EvaluationSettings) -> Evaluation:
    data = read_folder(Path(table.data), table.layout, table.images, table.split).first(table.samples or 0)
    names = read_classes(table.classes) if table.classes else {}
    data = replace(data, names=names, by_language=data.by_language or table.by_language)
    if not table.kind and not data.texts:
        kinds = ("classification",)
    if "classification" in kinds:
        prompt_sets(data)
    elif not data.texts:
        raise RequestError(f"evaluation {name}: {table.data} has no texts about its pictures; its kind can be classification")
    return Evaluation(name, kinds, lambda device: data)
