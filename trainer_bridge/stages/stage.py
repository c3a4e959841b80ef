"""What a stage is: a model, the parameters trained, the losses, and the model folder it writes. One module a stage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from fsspec.implementations.local import LocalFileSystem
from torch import Tensor, nn
from torch import distributed as dist

from infra.compat.files import write_whole
from sharding.index import Dataset
from sharding.reader import ShardReader
from trainer_bridge.checkpoints.states.from_rank_0 import from_rank_0
from trainer_bridge.data.batch import Batch, slices
from trainer_bridge.data.instructions.source import InstructionSource
from trainer_bridge.evaluation.evaluator import Evaluator
from trainer_bridge.schedule import Phase
from trainer_bridge.stages.outline import Outline
from trainer_bridge.stages.settings import Experiment

TOKENIZER_CAPTIONS = 200_000
READ_AT_ONCE = 256


class Stage(ABC):
    """One alignment stage, on one rank.

    A subclass in a module of this package is offered as `train --stage <module>`; it sets `experiment_type`, the class of its
    TOML file, `evaluator_type`, the class of what computes its figures, and `model`, which DeepSpeed wraps. A sample must have
    one of `trained_members`. A model that is built on the meta device is filled piece by piece: with `tensors`,
    those that it starts with by name, and else at random.
    """

    experiment_type: ClassVar[type[Experiment]]
    evaluator_type: ClassVar[type[Evaluator]]
    trained_members: ClassVar[tuple[str, ...]] = ("text",)
    model: nn.Module
    tokenizer: Any = None  # of the tokenizers library, or of transformers
    tensors: dict[str, Tensor] | None = None
    examples: InstructionSource | None = None  # conversations that it trains on instead of shards
    measures: Mapping[str, float] = MappingProxyType({})  # numbers of the last step that are no loss, the same on every rank

    @abstractmethod
    def __init__(self, experiment: Any, dataset: Dataset | None, start: Path | None, out: Path) -> None:
        """Builds the model, once the process group stands. `start` is the model folder of --from, `out` the run's own folder.
        `dataset` is what it trains on, None where the experiment names conversations.

        Raises ValueError, in one line, when `start` is missing or does not fit.
        """

    def begin(self, phase: Phase) -> None:  # noqa: B027
        """Called before the first step of a phase and on a resume; for stages whose phases differ in more than their batch."""

    @abstractmethod
    def transform(self, image: bytes, rng: np.random.Generator) -> np.ndarray:
        """Encoded image → uint8[3, S, S]; ValueError when it cannot be decoded. Called in several threads."""

    @abstractmethod
    def parameters(self) -> list[dict[str, Any]]:
        """The trained parameters as AdamW's groups, with `lr` and `weight_decay`."""

    @abstractmethod
    def losses(self, engine: nn.Module, batch: Batch, micro_batch: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
        """Parts of the losses by name, scalars, one for each micro-batch of a rank's batch; `engine` is `model` in DeepSpeed.

        Added up over micro-batches and ranks they are the losses of the global batch, whose sum is minimised. Each is passed back
        before the next is computed, so that activations of `micro_batch` samples at most are held. Samples that are not `valid`
        have no part in them, neither as positives nor as negatives.
        """

    def parts(self, batch: Batch, micro_batch: int) -> int:
        """How many parts `losses` gives of a rank's batch; asked after the first of them."""
        return len(slices(len(batch.captions), micro_batch))

    def flops(self) -> float:
        """FLOPs of a sample as in the last batch, by a formula of `trainer_bridge.flops`; 0: none is known."""
        return 0.0

    def samples(self, steps: int, device: torch.device, run: Callable[..., Any]) -> list[dict[str, str]]:
        """What the model says now: question, answer, and the one in the data; every rank calls it. `run` is as an evaluator's."""
        return []

    @abstractmethod
    def save(self, folder: Path, state: dict[str, Tensor]) -> None:
        """Writes the model folder; `state` is the whole state dict of `model`."""

    @classmethod
    def outline(cls, experiment: Any, start: Path | None) -> Outline | None:
        """What the memory plan needs, without shards and process group; None: the stage's memory is not planned.

        Raises ValueError, in one line, when `start` is missing or does not fit.
        """
        return None

    @classmethod
    @abstractmethod
    def wrote(cls, folder: Path) -> bool:
        """Whether the folder holds a model of this stage."""

    @abstractmethod
    def evaluator(self, device: torch.device, batch: int) -> Evaluator:
        """What computes figures of `model`, `batch` samples at a time, on the device that it is on."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, device: torch.device, batch: int) -> Evaluator:
        """The same of the model in `folder`, taken to the device; ValueError in one line when it does not load."""


def made_once(path: Path, make: Callable[[Path], object]) -> Path:
    """A file of text, or folder of such, that rank 0 makes where there is none yet, and every machine then holds; its path.

    Every rank must call it.
    """
    if dist.get_rank() == 0 and not path.exists():
        make(path)
    for name, text in from_rank_0(lambda: _texts(path)).items():
        target = path.parent / name
        if not target.exists():
            write_whole(LocalFileSystem(), str(target), text.encode())
    return path


def _texts(path: Path) -> dict[str, str]:
    """The text of a file, or of each file of a folder, by its name beside it."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {str(file.relative_to(path.parent)): file.read_text(encoding="utf-8") for file in files}


def to_device(device: torch.device, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors on the device, from pinned memory: any other copy waits for all the work that the device was given before."""
    pin = device.type == "cuda"
    ready = (tensor.pin_memory() if pin and tensor.device.type == "cpu" else tensor for tensor in tensors)
    return tuple(tensor.to(device, non_blocking=True) for tensor in ready)


def first_captions(dataset: Dataset, limit: int = TOKENIZER_CAPTIONS) -> Iterator[str]:
    """At most `limit` captions from the start of the training split: what a tokenizer is trained on."""
    reader = ShardReader(dataset, "train")
    left = limit
    for shard, size in enumerate(reader.sizes()):
        rows = range(min(size, left))
        for start in range(0, len(rows), READ_AT_ONCE):
            yield from (sample.text for sample in reader.read_all([(shard, row) for row in rows[start : start + READ_AT_ONCE]]))
        left -= size
        if left <= 0:
            return
