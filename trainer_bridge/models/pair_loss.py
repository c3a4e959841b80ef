"""Losses over all pairs of a global batch, with their gradient in closed form: CLIP's softmax and SigLIP's sigmoid.

The similarities of a global batch of G pairs are G² numbers; a rank cannot hold them, and often not even those of its own rows.
The gradient of either loss by a logit is (w − 1 for the pair itself) / G, where w is the mean of both softmaxes, or the sigmoid.
So a rank computes the rows of its pictures and its captions in chunks, from the features and log-sums of all ranks, and adds up.

Sources: CLIP (arXiv 2103.00020), InternVL §3.3; SigLIP (arXiv 2303.15343).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer_bridge.models.losses import gather, known_gradient

CHUNK = 1 << 24  # most logits that are held at once


class Features(NamedTuple):
    """What a pair loss is computed from. A tuple: in an object of another class ZeRO-3 would not see the tensors.

    image, text  float32[B, D], L2-normalised
    scale        [1], the factor of the similarities
    bias         [1], added to the logits of the sigmoid loss; None: the softmax loss
    """

    image: Tensor
    text: Tensor
    scale: Tensor
    bias: Tensor | None


class PairLoss(NamedTuple):
    """A rank's part of the loss of the global batch, and gradients of the whole loss by the rank's features.

    Added up over ranks, `value` is the loss and `scale` and `bias` are its gradients by them.
    """

    value: Tensor
    image: Tensor
    text: Tensor
    scale: Tensor
    bias: Tensor | None

    def part(self, rows: slice) -> PairLoss:
        """That of some of the rank's rows: over all rows the parts add up to the whole."""
        share = len(self.image[rows]) / len(self.image)
        bias = None if self.bias is None else self.bias * share
        return PairLoss(self.value * share, self.image[rows], self.text[rows], self.scale * share, bias)

    def of(self, features: Features) -> Tensor:
        """The value as a scalar that passes its gradients back to the features it was computed from."""
        known = [(x, gradient) for x, gradient in zip(features, self[1:], strict=True) if x is not None and gradient is not None]
        return known_gradient(self.value, [x for x, _ in known], [gradient for _, gradient in known])


class _Logits:
    """The logits of rows[B, D] of this rank and columns[G, D] of all ranks; least in columns that are not valid."""

    def __init__(self, rows: Tensor, columns: Tensor, features: Features, all_valid: Tensor) -> None:
        self.rows, self.columns, self.all_valid = rows, columns, all_valid
        self.scale, self.bias = features.scale, features.bias

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """(rows, their logits [·, G]), a few rows at a time."""
        size = max(1, CHUNK // len(self.columns))
        for start in range(0, len(self.rows), size):
            chunk = slice(start, start + size)
            logits = self.scale * (self.rows[chunk] @ self.columns.T)
            logits = logits if self.bias is None else logits + self.bias
            # Not -inf: where no pair is valid, differences of logits would be NaN.
            yield chunk, logits.masked_fill(~self.all_valid, torch.finfo(logits.dtype).min)

    def reduce(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """A function of each row of logits: [B]."""
        return torch.cat([function(logits) for _, logits in self.chunks()])

    def weighted(self, weights: Callable[[slice, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """The columns added up with the weights [·, G] of each row, [B, D], and the sums of the weights, [B]."""
        chunks = [(w @ self.columns, w.sum(dim=1)) for w in (weights(rows, logits) for rows, logits in self.chunks())]
        return torch.cat([columns for columns, _ in chunks]), torch.cat([sums for _, sums in chunks])


def pair_loss_bytes(samples: int, ranks: int, width: int) -> int:
    """About the peak bytes of `pair_loss` with so many samples on each rank: features, their gradients, and a chunk of logits."""
    everywhere = samples * ranks
    return 4 * (4 * samples * width + 4 * everywhere * width + 4 * min(max(CHUNK, everywhere), samples * everywhere))


def pair_loss(features: Features, valid: Tensor) -> PairLoss:
    """The mean over the pairs of the global batch. Where `valid` bool[B] is false, they are neither positives nor negatives.

    Every rank calls it with as many pairs. Memory is O(G · D). The precision is that of the features, under autocast too.
    """
    with torch.no_grad(), torch.autocast(valid.device.type, enabled=False):
        all_valid = gather(valid)
        images = _Logits(features.image, gather(features.text), features, all_valid)
        texts = _Logits(features.text, gather(features.image), features, all_valid)
        positives = features.scale * (features.image * features.text).sum(dim=1)
        if features.bias is None:
            values, by_image, by_text = _softmax(images, texts)
        else:
            positives = positives + features.bias
            values, by_image, by_text = _sigmoid(images, texts)
        count = all_valid.sum().clamp(min=1)
        (from_texts, sums), (from_images, _) = images.weighted(by_image), texts.weighted(by_text)
        image, text = (
            torch.where(valid[:, None], features.scale * (weighted - partner) / count, 0)
            for weighted, partner in ((from_texts, features.text), (from_images, features.image))
        )
        bias = None if features.bias is None else (torch.where(valid, sums - 1, 0).sum() / count)[None]
        scale = (image * features.image).sum()[None] / features.scale
        return PairLoss(torch.where(valid, values - positives, 0).sum() / count, image, text, scale, bias)


Weights = Callable[[slice, Tensor], Tensor]


def _softmax(images: _Logits, texts: _Logits) -> tuple[Tensor, Weights, Weights]:
    """Each pair's loss [B] but for its own logit, and the weights of the logits of pictures and of captions."""
    of_images, of_texts = (logits.reduce(lambda rows: rows.logsumexp(dim=1)) for logits in (images, texts))
    all_images, all_texts = gather(of_images), gather(of_texts)

    def mean(rows: slice, logits: Tensor, own: Tensor, others: Tensor) -> Tensor:
        return ((logits - own[rows, None]).exp() + (logits - others).exp()) / 2

    return (
        (of_images + of_texts) / 2,
        lambda rows, logits: mean(rows, logits, of_images, all_texts),
        lambda rows, logits: mean(rows, logits, of_texts, all_images),
    )


def _sigmoid(images: _Logits, texts: _Logits) -> tuple[Tensor, Weights, Weights]:
    """Each pair's loss [B] but for its own logit, and the weights of the logits of pictures and of captions."""
    return (
        images.reduce(lambda rows: F.softplus(rows).sum(dim=1)),
        lambda _, logits: logits.sigmoid(),
        lambda _, logits: logits.sigmoid(),
    )
