"""Trackers of experiments, TensorBoard and Weights & Biases, each imported only where an experiment asks for it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from infra.compat.errors import RequestError
from trainer_bridge.stages.settings import LogSettings


class Tracker(Protocol):
    """Where values of each step go, besides metrics.jsonl."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """The values of a step, by name."""

    def close(self) -> None:
        """Writes what is left."""


class TensorBoard:
    """Event files in a folder that `tensorboard --logdir` shows."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """A scalar for each value."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        """Writes what is left."""
        self.writer.close()


class WeightsAndBiases:
    """A run in a project of Weights & Biases; a training that is resumed goes on in it. WANDB_MODE=offline keeps it in `out`."""

    def __init__(self, project: str, out: Path, experiment: Mapping[str, Any]) -> None:
        import wandb

        name = str(out.resolve())
        number = uuid.uuid5(uuid.NAMESPACE_URL, name).hex[:16]
        self.run = wandb.init(project=project, name=name, id=number, resume="allow", dir=name, config=dict(experiment))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """All values of the step at once."""
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        """Sends what is left."""
        self.run.finish()


def require_trackers(settings: LogSettings) -> None:
    """RequestError when a tracker that is asked for is not installed."""
    for name in ("tensorboard", "wandb"):
        if getattr(settings, name) and find_spec(name) is None:
            raise RequestError(f"log.{name} is set, but {name} is not installed; pip install 'pairmill[log]', or leave it out")


def open_trackers(settings: LogSettings, out: Path, experiment: Mapping[str, Any]) -> list[Tracker]:
    """Those that the settings name; TensorBoard's files lie in OUT/tensorboard."""
    trackers: list[Tracker] = []
    if settings.tensorboard:
        trackers.append(TensorBoard(out / "tensorboard"))
    if settings.wandb:
        trackers.append(WeightsAndBiases(settings.wandb, out, experiment))
    return trackers
