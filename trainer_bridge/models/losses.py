"""Losses over all ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F

IGNORED = -100  # the label of positions without a loss, as in torch


class _Gather(torch.autograd.Function):
    """Concatenates rows over ranks; backward sums the gradients that all ranks computed for a rank's rows."""

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


def world_size() -> int:
    """The number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(rows: Tensor) -> Tensor:
    """[B, D] of each rank → [world · B, D], with gradient."""
    if world_size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def clip_loss(image: Tensor, text: Tensor, scale: Tensor, valid: Tensor | None = None) -> Tensor:
    """Symmetric CLIP loss of image[B, D] and text[B, D], both L2-normalised, over all ranks. Source: InternVL §3.3, CLIP.

    Only the local rows of the similarity matrix are computed, so memory stays O(B · world B). The mean over ranks of the result
    is the loss of the global batch. Pairs where `valid` bool[B] is false are left out, as positives and as negatives.
    """
    images, texts = gather(image), gather(text)
    rank = dist.get_rank() if world_size() > 1 else 0
    labels = torch.arange(len(image), device=image.device) + rank * len(image)
    by_image, by_text = scale * image @ texts.T, scale * text @ images.T
    if valid is None:
        return (F.cross_entropy(by_image, labels) + F.cross_entropy(by_text, labels)) / 2
    all_valid = _concatenate(valid.to(torch.uint8)).bool() if world_size() > 1 else valid
    labels = torch.where(valid, labels, IGNORED)
    total = sum(
        # Not -inf: where no pair is valid the gradient would be NaN.
        F.cross_entropy(
            logits.masked_fill(~all_valid, torch.finfo(logits.dtype).min), labels, reduction="sum", ignore_index=IGNORED
        )
        for logits in (by_image, by_text)
    )
    return total / 2 * world_size() / all_valid.sum().clamp(min=1)


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over logits[…, C] and labels int64[…], mean over labels that are not IGNORED; 0 without any."""
    total = F.cross_entropy(logits.flatten(0, -2).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)
