"""Figures of stage 2: those of stage 1 by both image features, the loss on captions, and image-text matching."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from infra.compat.errors import RequestError
from trainer_bridge.data.tokenizer import encode
from trainer_bridge.data.transforms import normalise
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.pair_evaluator import ContrastiveEvaluator
from trainer_bridge.evaluation.pictures import Decoded, whole
from trainer_bridge.evaluation.shares import Share, share_of
from trainer_bridge.models.contrastive import unit
from trainer_bridge.models.losses import IGNORED, total
from trainer_bridge.models.qllama import GenerativeModel, Tokens, attention_masks, next_tokens

ITM_ODDS = 1 / 2  # of a match among the pairs of training: with each right pair a wrong picture and a wrong text are learned


class GenerativeEvaluator(ContrastiveEvaluator):
    """Figures of InternVL-G: by the ensemble of both features as it is released, and of its other two losses.

    captions   the loss of the next token (ITG) on the texts, beside the entropy of tokens drawn from these texts one by one
    matching   the share of right answers (ITM) about each text with its own picture and with one drawn among all others;
               `next`: with its own and with the next one, which in a set in order may be like it
    """

    kinds = ("retrieval", "classification", "captions", "matching")
    heldout = ("retrieval", "captions", "matching")
    model: GenerativeModel

    def figures(self, kind: str, data: EvaluationSet) -> dict[str, Any]:
        """As stage 1's, or those of the two losses, which need texts."""
        if kind not in ("captions", "matching"):
            return super().figures(kind, data)
        if not data.texts:
            raise RequestError(f"{kind} needs texts about the pictures, and this set has none; choose another kind")
        return self._captions(data) if kind == "captions" else self._matching(data)

    def encode_images(self, pixels: Tensor) -> dict[str, Tensor]:
        """The features of InternVL-C, of the queries, and the sum of both, normalised. Source: InternVL_G as released."""
        picture = self.model.stage1.image_tower(pixels)
        contrastive = unit(self.model.stage1.image_pool(picture))
        queries = unit(self.model.query_pool(self.model.decode(picture, None, None)))
        return {"": unit(contrastive + queries), "contrastive": contrastive, "queries": queries}

    def _captions(self, data: EvaluationSet) -> dict[str, Any]:
        share, rows = share_of(len(data.texts)), []
        has_begin, vocabulary = bool(self.config.text.begin), self.config.text.vocabulary
        counts = torch.zeros(vocabulary, device=self.device, dtype=torch.float64)
        for own, pixels, caption, valid in self._pairs(data, share, data.image_index):
            labels = next_tokens(caption, valid, has_begin)
            logits = self.run(self._next_token_logits, pixels, caption)
            losses = F.cross_entropy(logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
            rows.append(torch.stack([losses.sum(dim=1), (labels != IGNORED).sum(dim=1)], dim=1).double())
            counts += torch.bincount(labels[own][labels[own] != IGNORED], minlength=vocabulary)
        losses, counts = share.gathered(torch.cat(rows)).cpu(), total(counts)
        unread = np.unique(data.image_index[(losses[:, 1] == 0).numpy()])
        result: dict[str, Any] = {"pairs": int((losses[:, 1] > 0).sum()), "caption_tokens": int(losses[:, 1].sum())}
        result |= {
            "unreadable": len(unread) + data.unread,
            "unigram_entropy": torch.special.entr(counts / counts.sum()).sum().item(),
        }
        chosen = {"": slice(None)} | ({f"{name}/": rows for name, rows in data.languages().items()} if data.by_language else {})
        for prefix, texts in chosen.items():
            loss, tokens = losses[texts].sum(dim=0).tolist()
            loss /= max(1.0, tokens)
            result |= {f"{prefix}caption_loss": loss, f"{prefix}perplexity": math.exp(min(loss, 700.0))}
        return result

    def _matching(self, data: EvaluationSet) -> dict[str, Any]:
        if data.pictures < 2:
            return {}  # there is no other picture
        drawn = np.random.default_rng(0).integers(1, data.pictures, len(data.texts))
        own = self._matched(data, 0)
        wrong = {"itm_accuracy": 1 - self._matched(data, drawn), "itm_accuracy_next": 1 - self._matched(data, 1)}
        return {name: torch.cat([own, right]).nanmean().item() for name, right in wrong.items()}

    def _matched(self, data: EvaluationSet, offset: int | np.ndarray) -> Tensor:
        """Whether each text is said to match the picture so many after its own, float64[T]; NaN where that cannot be read.

        One in three pairs of training matches (`ITM_ODDS`), and one in two here: the answer is the likelier one among these.
        """
        share = share_of(len(data.texts))
        pairs = self._pairs(data, share, (data.image_index + offset) % data.pictures)
        rows = [
            torch.where(valid, (self.run(self._match_log_odds, pixels, caption) > math.log(ITM_ODDS)).double(), torch.nan)
            for _, pixels, caption, valid in pairs
        ]
        return share.gathered(torch.cat(rows))

    def _pairs(
        self, data: EvaluationSet, share: Share, image_index: np.ndarray
    ) -> Iterator[tuple[Tensor, Tensor, Tokens, Tensor]]:
        """A rank's texts with a picture each, int64[T], in batches.

        (bool[B] whether no other rank has the text too, pixels float32[B, 3, S, S], the text, bool[B] whether its picture could
        be read)
        """
        batches, counted = share.batches(self.batch), torch.from_numpy(share.counted).split(self.batch)
        decoded = Decoded(data, whole, self.config.image.image_size).batches([image_index[rows] for rows in batches])
        for numbers, own, (pixels, valid) in zip(batches, counted, decoded, strict=True):
            tokens = encode(self.tokenizer, [data.texts[number] for number in numbers], self.config.text, prefixed=False)
            caption = Tokens(*(tensor.to(self.device) for tensor in tokens))
            yield own.to(self.device), normalise(pixels.to(self.device)), caption, valid.to(self.device)

    def _next_token_logits(self, pixels: Tensor, caption: Tokens) -> Tensor:
        """The pass of ITG alone: [B, T, vocabulary]."""
        model, queries, begin = self.model, self.model.config.queries, self.tokenizer.token_to_id(self.config.text.end)
        read = caption.ids if self.config.text.begin else F.pad(caption.ids, (1, -1), value=begin)
        mask = attention_masks(queries, caption.lengths.repeat(2), read.shape[1])[len(read) :]
        states = model.decode(model.stage1.image_tower(pixels), read, mask)
        return states[:, queries:] @ model.stage1.output_weights.T

    def _match_log_odds(self, pixels: Tensor, caption: Tokens) -> Tensor:
        """The pass of ITM alone: [B], the logarithm of the odds that a pair matches."""
        model, queries = self.model, self.model.config.queries
        mask = attention_masks(queries, caption.lengths.repeat(2), caption.ids.shape[1])[: len(caption.ids)]
        states = model.decode(model.stage1.image_tower(pixels), caption.ids, mask)
        no, yes = model.itm_head(states[:, :queries]).mean(dim=1).unbind(dim=1)
        return yes - no
