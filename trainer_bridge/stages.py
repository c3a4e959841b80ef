"""What each alignment stage trains, and with which loss. Source: InternVL Table 20."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from trainer_bridge.config import TrainConfig
from trainer_bridge.loader import Batch
from trainer_bridge.losses import clip_loss
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.tokenizer import encode
from trainer_bridge.transforms import decode, normalise, random_resized_crop


@dataclass(frozen=True)
class ContrastiveStage:
    """Stage 1: everything is trained on the symmetric CLIP loss; the image side has a learning rate of its own."""

    config: TrainConfig
    tokenizer: Tokenizer

    def model(self) -> ContrastiveModel:
        """The model, randomly initialised."""
        return ContrastiveModel(self.config.model)

    def transform(self, image: bytes, chance: np.random.Generator) -> np.ndarray:
        """Stored bytes → uint8[3, S, S], randomly cropped."""
        size = self.config.model.image.image_size
        return random_resized_crop(decode(image, size), size, self.config.data.least_area, chance)

    def parameters(self, model: ContrastiveModel) -> list[dict[str, Any]]:
        """Parameter groups: learning rates of the image and the text side; no decay on vectors (norms, biases, scales)."""
        optimizer = self.config.optimizer
        sides = {"image_": optimizer.image_lr, "": optimizer.text_lr}
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            rate = next(rate for prefix, rate in sides.items() if name.startswith(prefix))
            decay = optimizer.weight_decay if parameter.ndim >= 2 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
        return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]

    def loss(self, model: nn.Module, batch: Batch, device: torch.device) -> Tensor:
        """The loss of one rank's batch, over all ranks."""
        ids, lengths = encode(self.tokenizer, batch.captions, self.config.model.text.length)
        pixels = normalise(batch.pixels.to(device))
        image, text, scale = model(pixels, ids.to(device), lengths.to(device), self.config.data.drop_tokens)
        return clip_loss(image.float(), text.float(), scale.float())


STAGES = {"contrastive": ContrastiveStage}


def count_parameters(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
