"""Figures of stages 1 and 2 that go by the features of pictures and texts: retrieval and zero-shot classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from tokenizers import Tokenizer
from torch import Tensor

from infra.compat.errors import RequestError
from trainer_bridge.data.tokenizer import encode
from trainer_bridge.data.transforms import normalise
from trainer_bridge.evaluation.classes import prompt_sets
from trainer_bridge.evaluation.classification import classification_figures
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.evaluator import Evaluator
from trainer_bridge.evaluation.pictures import Decoded, Resize, center, whole
from trainer_bridge.evaluation.retrieval import retrieval_figures
from trainer_bridge.evaluation.shares import share_of
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.models.qllama import GenerativeModel


class ContrastiveEvaluator(Evaluator):
    """Figures of InternVL-C, computed `batch` pictures or texts at a time."""

    kinds: ClassVar[tuple[str, ...]] = ("retrieval", "classification")
    heldout: ClassVar[tuple[str, ...]] = ("retrieval",)
    model: ContrastiveModel | GenerativeModel

    def __init__(self, model: ContrastiveModel | GenerativeModel, tokenizer: Tokenizer, device: torch.device, batch: int) -> None:
        super().__init__(device)
        self.model, self.tokenizer, self.batch = model, tokenizer, batch
        self.config = model.config if isinstance(model, ContrastiveModel) else model.stage1.config

    def figures(self, kind: str, data: EvaluationSet) -> dict[str, Any]:
        """Retrieval over pictures and texts, or classification of pictures by the names of their classes."""
        if kind == "classification":
            prompts = prompt_sets(data)
            return classification_figures(*self.image_features(data, center), data, prompts, self.text_features)
        if not data.texts:
            raise RequestError("retrieval needs texts about the pictures, and this set has none; choose another kind")
        images, valid = self.image_features(data, whole)
        return retrieval_figures(images, self.text_features(data.texts), valid, data)

    def encode_images(self, pixels: Tensor) -> dict[str, Tensor]:
        """Pixels float32[B, 3, S, S] → features float32[B, D] by their name, "" those that the model is judged by."""
        return {"": self.model.encode_image(pixels)}

    def image_features(self, data: EvaluationSet, resize: Resize) -> tuple[dict[str, Tensor], Tensor]:
        """(features float32[P, D] by their name, bool[P] whether each picture could be read), the same on every rank."""
        share = share_of(data.pictures)
        encoded, valid = [], []
        for pixels, readable in Decoded(data, resize, self.config.image.image_size).batches(share.batches(self.batch)):
            encoded.append(self.run(self.encode_images, normalise(pixels.to(self.device))))
            valid.append(readable)
        if not encoded:
            raise RequestError("the set holds no picture that can be read")
        features = {name: share.gathered(torch.cat([batch[name] for batch in encoded])) for name in encoded[0]}
        return features, share.gathered(torch.cat(valid).to(self.device))

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Texts → float32[T, D], the same on every rank."""
        share = share_of(len(texts))
        batches = [[texts[number] for number in numbers] for numbers in share.batches(self.batch)]
        tokens = (encode(self.tokenizer, batch, self.config.text) for batch in batches)
        rows = [self.run(self.model.encode_text, ids.to(self.device), lengths.to(self.device)) for ids, lengths in tokens]
        return share.gathered(torch.cat(rows))
