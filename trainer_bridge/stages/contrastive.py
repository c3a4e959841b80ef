"""Stage 1: everything is trained on CLIP's or SigLIP's loss; the image side has a learning rate of its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, field_validator
from tokenizers import Tokenizer
from torch import Tensor, nn

from sharding.decode import decode_pixels
from sharding.index import Dataset
from trainer_bridge.checkpoints.layouts.layout import TOKENIZER, read_config
from trainer_bridge.checkpoints.model_folders import load_contrastive, save_contrastive
from trainer_bridge.checkpoints.starts import ContrastiveSettings, start_contrastive
from trainer_bridge.data.batch import Batch
from trainer_bridge.data.tokenizer import encode, load_tokenizer, train_tokenizer
from trainer_bridge.data.transforms import normalise, random_resized_crop
from trainer_bridge.evaluation.pair_evaluator import ContrastiveEvaluator
from trainer_bridge.flops import contrastive_step
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.models.draws import sample_seeds
from trainer_bridge.models.pair_loss import Features, pair_loss_bytes
from trainer_bridge.models.text_tower import TextConfig
from trainer_bridge.schedule import Phase
from trainer_bridge.stages.feature_cache import loss_parts
from trainer_bridge.stages.outline import Outline
from trainer_bridge.stages.parameter_groups import parameter_groups
from trainer_bridge.stages.phase_settings import PhaseSettings, phases_of, require_whole
from trainer_bridge.stages.settings import Experiment, OptimizerSettings
from trainer_bridge.stages.stage import Stage, first_captions, made_once, to_device


class TwoRates(OptimizerSettings):
    """A peak learning rate for the image side and one for the rest."""

    image_lr: float = Field(gt=0)
    text_lr: float = Field(gt=0)


class ContrastiveExperiment(Experiment):
    """The settings of stage 1."""

    model: ContrastiveSettings
    optimizer: TwoRates
    phase: tuple[PhaseSettings, ...] = ()

    @field_validator("phase")
    @classmethod
    def _whole(cls, phases: tuple[PhaseSettings, ...]) -> tuple[PhaseSettings, ...]:
        require_whole(phases)
        return phases

    def phases(self) -> list[Phase]:
        """Those that `[[phase]]` names, or one."""
        return phases_of(self.phase, self) if self.phase else super().phases()


class ContrastiveStage(Stage):
    """Starts at random, from towers of other models, or from a stage-1 model; positions are resized to the image size."""

    experiment_type, evaluator_type = ContrastiveExperiment, ContrastiveEvaluator
    model: ContrastiveModel

    def __init__(self, experiment: ContrastiveExperiment, dataset: Dataset, start: Path | None, out: Path) -> None:
        self.experiment = experiment
        begun, tokenizer = start_contrastive(experiment.model, start)
        self.model, self.tensors = begun.model, begun.tensors
        self.tokenizer = tokenizer or _tokenizer(experiment.data.tokenizer, self.model.config.text, dataset, out)
        tokens, vocabulary = self.tokenizer.get_vocab_size(), self.model.config.text.vocabulary
        if tokens > vocabulary:
            raise ValueError(f"the tokenizer has {tokens} tokens, model.text.vocabulary is {vocabulary}; use the tower's own")

        self.begin(experiment.phases()[0])

    def begin(self, phase: Phase) -> None:
        """Pictures get the phase's size, and lose its share of tokens."""
        self.side, self.drop_tokens = phase.image_size or self.model.config.image.image_size, phase.drop_tokens

    def transform(self, image: bytes, rng: np.random.Generator, out: np.ndarray | None = None) -> np.ndarray:
        """Encoded image → uint8[3, S, S], randomly cropped."""
        return random_resized_crop(decode_pixels(image, self.side), self.side, self.experiment.data.least_area, rng, out)

    def parameters(self) -> list[dict[str, Any]]:
        """Two learning rates: the image side's and the rest's."""
        optimizer = self.experiment.optimizer
        rates = {"image_": optimizer.image_lr, "": optimizer.text_lr}
        return parameter_groups(self.model, rates, optimizer)

    def losses(self, engine: nn.Module, batch: Batch, micro_batch: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
        """The softmax or sigmoid loss of all pairs of the global batch."""
        text, drop_tokens, seed = self.model.config.text, self.drop_tokens, self.experiment.data.seed

        def features(part: Batch) -> Features:
            tokens = encode(self.tokenizer, part.captions, text)
            self.row_tokens = tokens[0].shape[1]
            pixels, ids, lengths = to_device(device, part.pixels, *tokens)
            seeds = sample_seeds(seed, part.positions, device)
            return Features(*engine(normalise(pixels), ids, lengths, drop_tokens, seeds))

        for part in loss_parts(features, batch, micro_batch, device):
            yield {"itc": part}

    def flops(self) -> float:
        """With pictures of the phase, and captions as long as in the last micro-batch."""
        image = self.model.config.image.model_copy(update={"image_size": self.side})
        return contrastive_step(self.model.config.model_copy(update={"image": image}), self.row_tokens, self.drop_tokens)

    @classmethod
    def outline(cls, experiment: ContrastiveExperiment, start: Path | None) -> Outline:
        """The model of the settings and of what they start from."""
        model = start_contrastive(experiment.model, start)[0].model
        config, whole = model.config, model.config.image.image_size

        def loss(model: nn.Module, phase: Phase) -> Tensor:
            samples, side = phase.micro_batch, phase.image_size or whole
            ids = torch.zeros(samples, config.text.length, dtype=torch.int64)
            lengths = torch.full((samples,), config.text.length)
            features = Features(*model(torch.zeros(samples, 3, side, side), ids, lengths, phase.drop_tokens))
            return features.image.sum() + features.text.sum()

        return Outline(model, whole, loss, partial(pair_loss_bytes, width=config.embedding))

    def save(self, folder: Path, state: dict[str, Tensor]) -> None:
        """config.json, model.safetensors, tokenizer.json."""
        save_contrastive(folder, self.model.config, state, self.tokenizer)

    @classmethod
    def wrote(cls, folder: Path) -> bool:
        """Whether config.json holds the sizes of both towers."""
        return read_config(folder).keys() >= {"image", "text", "embedding"}

    def evaluator(self, device: torch.device, batch: int) -> ContrastiveEvaluator:
        """Retrieval and zero-shot classification."""
        return ContrastiveEvaluator(self.model, self.tokenizer, device, batch)

    @classmethod
    def load(cls, folder: Path, device: torch.device, batch: int) -> ContrastiveEvaluator:
        """The same of a saved model."""
        model, tokenizer = load_contrastive(folder)
        return ContrastiveEvaluator(model.to(device), tokenizer, device, batch)


def _tokenizer(configured: str, text: TextConfig, dataset: Dataset, out: Path) -> Tokenizer:
    """The configured tokenizer, or one that rank 0 trains on the first captions of the shards and leaves in `out`."""
    if configured:
        return load_tokenizer(Path(configured), text)
    trained = made_once(out / TOKENIZER, lambda path: train_tokenizer(first_captions(dataset), text.vocabulary).save(str(path)))
    return load_tokenizer(trained, text)
