"""Losses over all ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F

IGNORED = -100  # the label that a cross-entropy passes over


class _Gather(torch.autograd.Function):
    """Concatenates a tensor over ranks; the gradient of each rank's rows is the sum of what all ranks made of them."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        context.rows = len(rows)
        return _concatenate(rows)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        start = dist.get_rank() * context.rows
        return gradient[start : start + context.rows]


def _concatenate(rows: Tensor) -> Tensor:
    gathered = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, rows.contiguous())
    return torch.cat(gathered)


def world() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(rows: Tensor) -> Tensor:
    """[B, D] of each rank → [world · B, D], with gradient; the same on one process."""
    if world() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def clip_loss(image: Tensor, text: Tensor, scale: Tensor, some: Tensor | None = None) -> Tensor:
    """Symmetric CLIP loss of image[B, D] and text[B, D], both L2-normalised, over all ranks. Source: InternVL §3.3, CLIP.

    Only the local rows of the similarity matrix are computed, so memory stays O(B · world B). The mean over ranks of the result
    is the loss of the global batch. Pairs where `some` bool[B] is false take no part, neither as right answers nor as wrong ones.
    """
    images, texts = gather(image), gather(text)
    rank = dist.get_rank() if world() > 1 else 0
    labels = torch.arange(len(image), device=image.device) + rank * len(image)
    by_image, by_text = scale * image @ texts.T, scale * text @ images.T
    if some is None:
        return (F.cross_entropy(by_image, labels) + F.cross_entropy(by_text, labels)) / 2
    everywhere = _concatenate(some.to(torch.uint8)).bool() if world() > 1 else some
    labels = torch.where(some, labels, IGNORED)
    losses = [
        F.cross_entropy(logits.masked_fill(~everywhere, -torch.inf)[some], labels[some], reduction="sum")
        for logits in (by_image, by_text)
    ]
    return (losses[0] + losses[1]) / 2 * world() / everywhere.sum().clamp(min=1)


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over logits[…, C] and labels int64[…], mean over those that are not IGNORED; 0 where there are none."""
    total = F.cross_entropy(logits.flatten(0, -2).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)
