"""Stage 1: everything is trained on the symmetric CLIP loss; the image side has a learning rate of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch import distributed as dist

from sharding.index import Dataset
from trainer_bridge.checkpoints.model_folders import TOKENIZER, load_contrastive, resize_positions, save_contrastive
from trainer_bridge.config import ContrastiveExperiment
from trainer_bridge.data.loader import Batch
from trainer_bridge.data.tokenizer import encode, load_tokenizer, train_tokenizer
from trainer_bridge.data.transforms import decode, normalise, random_resized_crop
from trainer_bridge.evaluation.retrieval import retrieval
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.models.losses import clip_loss
from trainer_bridge.stages.stage import Stage, captions_of, groups


class ContrastiveStage(Stage):
    """Starts at random, or from a stage-1 model of the same sizes (the image size may differ: positions are resized)."""

    config_type = ContrastiveExperiment
    model: ContrastiveModel

    def __init__(self, config: ContrastiveExperiment, dataset: Dataset, start: Path | None, out: Path) -> None:
        self.config = config
        self.model = ContrastiveModel(config.model)
        if start is None:
            self.tokenizer = _tokenizer(config, dataset, out)
        else:
            begun, self.tokenizer = load_contrastive(start)
            resized = resize_positions(begun, config.model.image)
            for name, ours in config.model.model_dump().items():
                if resized.config.model_dump()[name] != ours:
                    raise ValueError(f"--from {start} has another model.{name} ({resized.config.model_dump()[name]}, not {ours})")
            self.model.load_state_dict(resized.state_dict())

    def transform(self, image: bytes, chance: np.random.Generator) -> np.ndarray:
        """Stored bytes → uint8[3, S, S], randomly cropped."""
        size = self.config.model.image.image_size
        return random_resized_crop(decode(image, size), size, self.config.data.least_area, chance)

    def parameters(self) -> list[dict[str, Any]]:
        """Two learning rates: the image side's and the rest's."""
        optimizer = self.config.optimizer
        rates = {"image_": optimizer.image_lr, "": optimizer.text_lr}
        return groups(self.model.named_parameters(), rates, optimizer.weight_decay)

    def losses(self, engine: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
        """The CLIP loss over all ranks."""
        text = self.config.model.text
        ids, lengths = encode(self.tokenizer, batch.captions, text.length, text.prefix)
        pixels = normalise(batch.pixels.to(device))
        image, caption, scale = engine(pixels, ids.to(device), lengths.to(device), self.config.data.drop_tokens)
        return {"itc": clip_loss(image.float(), caption.float(), scale.float())}

    def save(self, folder: Path, state: dict[str, Tensor]) -> None:
        """config.json, model.safetensors, tokenizer.json."""
        save_contrastive(folder, self.config.model, state, self.tokenizer)

    def evaluate(self, folder: Path, dataset: Dataset) -> dict[str, float]:
        """Text→image recall."""
        return retrieval(*load_contrastive(folder), dataset, "heldout")


def _tokenizer(config: ContrastiveExperiment, dataset: Dataset, out: Path) -> Tokenizer:
    """The configured tokenizer, or one that rank 0 trains on the first captions of the shards and leaves in `out`."""
    if config.data.tokenizer:
        return load_tokenizer(Path(config.data.tokenizer))
    path = out / TOKENIZER
    if dist.get_rank() == 0 and not path.exists():
        train_tokenizer(captions_of(dataset), config.model.text.vocabulary).save(str(path))
    dist.barrier()
    return load_tokenizer(path)
