"""Sums over all ranks, and losses that are parts of such a sum."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F

IGNORED = -100  # the label of positions without a loss, as in torch


def world_size() -> int:
    """The number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this rank; 0 without a process group."""
    return dist.get_rank() if world_size() > 1 else 0


def gather(rows: Tensor) -> Tensor:
    """[B, …] of each rank → [world · B, …], without gradient."""
    if world_size() == 1:
        return rows.detach()
    sent = rows.detach().to(torch.uint8 if rows.dtype == torch.bool else rows.dtype).contiguous()  # gloo knows no bool
    gathered = [torch.empty_like(sent) for _ in range(world_size())]
    dist.all_gather(gathered, sent)
    return torch.cat(gathered).to(rows.dtype)


def gather_texts(texts: Sequence[str], device: torch.device) -> list[str]:
    """The texts of all ranks, in the order of the ranks."""
    data = torch.frombuffer(bytearray(json.dumps(texts).encode()), dtype=torch.uint8).to(device)
    sizes = gather(torch.tensor([len(data)], device=device)).tolist()
    rows = gather(F.pad(data, (0, max(sizes) - len(data)))[None]).cpu().numpy()
    return [text for row, size in zip(rows, sizes, strict=True) for text in json.loads(row[:size].tobytes())]


def total(values: Tensor) -> Tensor:
    """The sum of each value over ranks."""
    summed = values.detach().clone()
    if world_size() > 1:
        dist.all_reduce(summed)
    return summed


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over logits[…, C] and labels int64[…] with sum reduction; 0 without a label that is not IGNORED."""
    return F.cross_entropy(logits.flatten(0, -2).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")


def answer_loss(head: Callable[[Tensor], Tensor], states: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sum of the cross-entropy of labelled tokens, each times its weight; logits are computed for these alone.

    states[B, T, D] before labels int64[B, T] and weights float32[B, T] of them; `head` gives logits[N, C] of states[N, D].
    """
    labelled = labels[:, 1:] != IGNORED
    logits, targets = head(states[:, :-1][labelled]), labels[:, 1:][labelled]
    if weights is None:
        return token_loss(logits, targets)
    return (F.cross_entropy(logits.float(), targets, reduction="none") * weights[:, 1:][labelled]).sum()


def known_gradient(value: Tensor, inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """The scalar `value`, whose gradient by each input is the one given."""
    product = sum(((x * gradient).sum() for x, gradient in zip(inputs, gradients, strict=True)), torch.zeros_like(value))
    return value + product - product.detach()
