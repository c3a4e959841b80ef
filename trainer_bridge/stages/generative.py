"""Stage 2: QLLaMA's queries and cross-attention are trained on ITC + ITM + ITG around the frozen stage 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sharding.decode import decode_picture
from sharding.index import Dataset
from trainer_bridge.checkpoints.layouts.layout import read_config
from trainer_bridge.checkpoints.model_folders import load_generative, save_generative
from trainer_bridge.checkpoints.starts import start_generative
from trainer_bridge.data.batch import Batch
from trainer_bridge.data.tokenizer import encode
from trainer_bridge.data.transforms import normalise, random_resized_crop
from trainer_bridge.evaluation.retrieval import retrieval
from trainer_bridge.models.losses import clip_loss, token_loss
from trainer_bridge.models.qllama import GenerativeConfig, GenerativeModel, Tokens
from trainer_bridge.stages.settings import Experiment, OneRate
from trainer_bridge.stages.stage import Stage, parameter_groups, to_device


class GenerativeExperiment(Experiment):
    """The settings of stage 2; the sizes of the image and text towers come from the stage-1 model it starts from."""

    model: GenerativeConfig
    optimizer: OneRate


class GenerativeStage(Stage):
    """Starts from a stage-1 model, or goes on from a stage-2 model."""

    experiment_type = GenerativeExperiment
    model: GenerativeModel

    def __init__(self, experiment: GenerativeExperiment, dataset: Dataset, start: Path | None, out: Path) -> None:
        if start is None:
            raise ValueError("the generative stage starts from a stage-1 model; name its folder with --from")
        self.experiment = experiment
        self.model, self.tokenizer = start_generative(experiment.model, start)

    def transform(self, image: bytes, rng: np.random.Generator) -> np.ndarray:
        """Encoded image → uint8[3, S, S], randomly cropped."""
        size = self.model.stage1.config.image.image_size
        return random_resized_crop(decode_picture(image, size), size, self.experiment.data.least_area, rng)

    def parameters(self) -> list[dict[str, Any]]:
        """Queries, cross-attention, second pooling head, ITM head and logit scale."""
        optimizer = self.experiment.optimizer
        return parameter_groups(self.model.named_parameters(), {"": optimizer.lr}, optimizer.weight_decay)

    def losses(self, engine: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
        """ITC, ITM and ITG of one forward, with weight 1 each. Samples that are not valid have no caption, and so no loss."""
        text = self.model.stage1.config.text
        caption, prefixed = (
            Tokens(*to_device(device, *encode(self.tokenizer, batch.captions, text, prefixed=prefixed)))
            for prefixed in (False, True)
        )
        (pixels,) = to_device(device, batch.pixels)
        outputs = engine(normalise(pixels), caption, prefixed, self.tokenizer.token_to_id(text.end))
        return {
            "itc": clip_loss(outputs.image.float(), outputs.text.float(), outputs.scale.float(), outputs.valid),
            "itm": token_loss(outputs.match_logits, outputs.match_labels),
            "itg": token_loss(outputs.token_logits, outputs.token_labels),
        }

    def save(self, folder: Path, state: dict[str, Tensor]) -> None:
        """config.json, model.safetensors (stage 1 included), tokenizer.json."""
        save_generative(folder, self.model, state, self.tokenizer)

    @classmethod
    def wrote(cls, folder: Path) -> bool:
        """Whether config.json holds the sizes of stage 1 and of QLLaMA."""
        return read_config(folder).keys() >= {"stage1", "generative"}

    @classmethod
    def evaluate(cls, folder: Path, dataset: Dataset, split: str) -> dict[str, Any]:
        """Text→image recall of InternVL-G: pooled queries against the text feature."""
        return retrieval(*load_generative(folder), dataset, split)
