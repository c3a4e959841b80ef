"""Figures of Mono-InternVL: the loss on captions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from infra.compat.errors import RequestError
from trainer_bridge.data.instructions.dialogue import Dialogue, Message
from trainer_bridge.data.instructions.encoding import Encoder
from trainer_bridge.data.instructions.template import ChatTemplate
from trainer_bridge.data.sequences import Encoded, learned_tokens, padded
from trainer_bridge.data.transforms import normalise, whole
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.evaluator import Evaluator
from trainer_bridge.evaluation.pictures import Decoded
from trainer_bridge.evaluation.shares import share_of
from trainer_bridge.models.losses import IGNORED, total
from trainer_bridge.models.mono import MonoLoss

QUESTION = "Provide a one-sentence caption for the image."  # Mono-InternVL, figure 5


class MonoEvaluator(Evaluator):
    """Loss per token on captions behind the paper's question; a picture is one tile."""

    kinds, heldout, samples = ("captions",), ("captions",), 512
    model: MonoLoss

    def __init__(self, model: MonoLoss, tokenizer: Any, device: torch.device, batch: int) -> None:
        super().__init__(device)
        self.model, self.tokenizer, self.batch = model, tokenizer, batch
        self.encoder = Encoder(tokenizer, ChatTemplate(tokenizer), model.mono.config.tokens, 1 << 20)

    def figures(self, kind: str, data: EvaluationSet) -> dict[str, Any]:
        """The mean over the tokens of all captions, with its perplexity."""
        if not data.texts:
            raise RequestError("captions need texts about the pictures, and this set has none; choose another set")
        side = self.model.mono.config.image_size
        share, sums = share_of(len(data.texts)), torch.zeros(4, device=self.device, dtype=torch.float64)
        batches, counted = share.batches(self.batch), torch.from_numpy(share.counted).split(self.batch)
        decoded = Decoded(data, whole, side).batches([data.image_index[rows] for rows in batches])
        for numbers, own, (pixels, readable) in zip(batches, counted, decoded, strict=True):
            rows = [self._encoded(data.texts[number], tile) for number, tile in zip(numbers.tolist(), pixels, strict=True)]
            table = padded(rows, [1.0] * len(rows), self.tokenizer.pad_token_id)
            labels = table.labels.clone()
            labels[~(own & readable)] = IGNORED
            inputs = table.ids.to(self.device), labels.to(self.device), normalise(table.tiles.to(self.device))
            loss: Tensor = self.run(self.model.forward, *inputs)
            tokens = sum(learned_tokens(row) for row, is_own in zip(rows, (own & readable).tolist(), strict=True) if is_own)
            sums += torch.tensor(
                [float(loss), tokens, int((own & readable).sum()), int((own & ~readable).sum())], device=self.device
            )
        loss_sum, count, pairs, unreadable = total(sums).tolist()
        mean = loss_sum / max(1.0, count)
        figures = {"caption_loss": mean, "perplexity": math.exp(min(mean, 700.0)), "caption_tokens": int(count)}
        return {"pairs": int(pairs), "unreadable": int(unreadable) + data.unread, **figures}

    def _encoded(self, caption: str, tile: Tensor) -> Encoded:
        messages = Message("user", ("", f"\n{QUESTION}")), Message("assistant", (caption,))
        ids, labels = self.encoder.encode(Dialogue(messages, ("",)), [1])
        return Encoded(torch.from_numpy(ids), torch.from_numpy(labels), tile[None])
