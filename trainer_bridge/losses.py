"""Losses over all ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F


class _Gather(torch.autograd.Function):
    """Concatenates a tensor over ranks; the gradient of each rank's rows is the sum of what all ranks made of them."""

    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        gathered = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, rows.contiguous())
        context.rows = len(rows)
        return torch.cat(gathered)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        start = dist.get_rank() * context.rows
        return gradient[start : start + context.rows]


def gather(rows: Tensor) -> Tensor:
    """[B, D] of each rank → [world · B, D], with gradient; the same on one process."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        gathered: Tensor = _Gather.apply(rows)
        return gathered
    return rows


def clip_loss(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Symmetric CLIP loss of image[B, D] and text[B, D], both L2-normalised, over all ranks. Source: InternVL §3.3, CLIP.

    Only the local rows of the similarity matrix are computed, so memory stays O(B · world B). The mean over ranks of the result
    is the loss of the global batch.
    """
    images, texts = gather(image), gather(text)
    rank = dist.get_rank() if images.shape[0] != image.shape[0] else 0
    labels = torch.arange(len(image), device=image.device) + rank * len(image)
    by_image = F.cross_entropy(scale * image @ texts.T, labels)
    by_text = F.cross_entropy(scale * text @ images.T, labels)
    return (by_image + by_text) / 2
