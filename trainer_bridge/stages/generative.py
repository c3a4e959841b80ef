"""Stage 2: QLLaMA's queries and cross-attention are trained on ITC + ITM + ITG around the frozen stage 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sharding.index import Dataset
from trainer_bridge.checkpoints.model_folders import load_contrastive, load_generative, save_generative
from trainer_bridge.config import GenerativeExperiment
from trainer_bridge.data.loader import Batch
from trainer_bridge.data.tokenizer import END, encode
from trainer_bridge.data.transforms import decode, normalise, random_resized_crop
from trainer_bridge.evaluation.retrieval import retrieval
from trainer_bridge.models.losses import clip_loss, token_loss
from trainer_bridge.models.qllama import GenerativeModel, Tokens
from trainer_bridge.stages.stage import Stage, groups


class GenerativeStage(Stage):
    """Starts from a stage-1 model, which it needs."""

    config_type = GenerativeExperiment
    model: GenerativeModel

    def __init__(self, config: GenerativeExperiment, dataset: Dataset, start: Path | None, out: Path) -> None:
        if start is None:
            raise ValueError("the generative stage starts from a stage-1 model; name its folder with --from")
        self.config = config
        stage1, self.tokenizer = load_contrastive(start)
        self.model = GenerativeModel(stage1, config.model)

    def transform(self, image: bytes, chance: np.random.Generator) -> np.ndarray:
        """Stored bytes → uint8[3, S, S], randomly cropped."""
        size = self.model.stage1.config.image.image_size
        return random_resized_crop(decode(image, size), size, self.config.data.least_area, chance)

    def parameters(self) -> list[dict[str, Any]]:
        """Queries, cross-attention, second pooling head, ITM head and logit scale."""
        return groups(self.model.named_parameters(), {"": self.config.optimizer.lr}, self.config.optimizer.weight_decay)

    def losses(self, engine: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
        """ITC, ITM and ITG of one forward, with weight 1 each."""
        text = self.model.stage1.config.text
        caption, prefixed = (
            Tokens(ids.to(device), lengths.to(device))
            for ids, lengths in (encode(self.tokenizer, batch.captions, text.length, prefix) for prefix in ("", text.prefix))
        )
        made = engine(normalise(batch.pixels.to(device)), caption, prefixed, self.tokenizer.token_to_id(END))
        return {
            "itc": clip_loss(made.image.float(), made.text.float(), made.scale.float(), made.some),
            "itm": token_loss(made.match, made.matched),
            "itg": token_loss(made.tokens, made.targets),
        }

    def save(self, folder: Path, state: dict[str, Tensor]) -> None:
        """config.json, model.safetensors (stage 1 included), tokenizer.json."""
        save_generative(folder, self.model, state, self.tokenizer)

    def evaluate(self, folder: Path, dataset: Dataset) -> dict[str, float]:
        """Text→image recall of InternVL-G: pooled queries against the text feature."""
        model, tokenizer = load_generative(folder)
        return retrieval(model, tokenizer, dataset, "heldout")
