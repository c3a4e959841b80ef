"""What a stage is: a model, what of it is trained, its losses, and what it leaves. One file a stage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sharding.index import Dataset
from sharding.reader import ShardReader
from trainer_bridge.config import TrainConfig
from trainer_bridge.data.loader import Batch

TOKENIZER_CAPTIONS = 200_000


class Stage(ABC):
    """One alignment stage. Made on every rank, after the process group stands; `start` is a model folder to go on from.

    Making it raises ValueError, in one line, for a start that does not fit.
    """

    config_type: ClassVar[type[TrainConfig]]
    model: nn.Module

    @abstractmethod
    def __init__(self, config: Any, dataset: Dataset, start: Path | None, out: Path) -> None: ...

    @abstractmethod
    def transform(self, image: bytes, chance: np.random.Generator) -> np.ndarray:
        """Stored bytes → uint8[3, S, S]."""

    @abstractmethod
    def parameters(self) -> list[dict[str, Any]]:
        """The trained parameters in groups with `lr` and `weight_decay`."""

    @abstractmethod
    def losses(self, engine: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
        """The losses of one rank's batch by name; their sum is minimised."""

    @abstractmethod
    def save(self, folder: Path, state: dict[str, Tensor]) -> None:
        """Writes the model to use."""

    @abstractmethod
    def evaluate(self, folder: Path, dataset: Dataset) -> dict[str, float]:
        """What the saved model does on the held-out split."""


def groups(named: Iterable[tuple[str, nn.Parameter]], rates: dict[str, float], decay: float) -> list[dict[str, Any]]:
    """Parameter groups: the rate is that of the first prefix that fits; no decay on vectors (norms, biases, scales)."""
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            rate = next(rate for prefix, rate in rates.items() if name.startswith(prefix))
            found.setdefault((rate, decay if parameter.ndim >= 2 else 0.0), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": weight} for (rate, weight), members in found.items()]


def captions_of(dataset: Dataset, limit: int = TOKENIZER_CAPTIONS) -> Iterator[str]:
    """The first captions of the training split, to make a tokenizer from."""
    reader = ShardReader(dataset, "train")
    left = limit
    for shard, size in enumerate(reader.sizes()):
        for row in range(min(size, left)):
            yield reader.read(shard, row).text
        left -= size
        if left <= 0:
            return
