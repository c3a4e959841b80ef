"""What a stage says of itself before it has shards, a tokenizer, or data: enough to plan its memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from trainer_bridge.schedule import Phase


@dataclass(frozen=True)
class Outline:
    """A stage's model without data, and what a step with it does.

    model     on the meta device; parameters that are trained require a gradient
    side      of the square pictures that the loader delivers, in pixels
    loss      (model, phase): a scalar, from the costliest pass that has a gradient, on a micro-batch of any values
    features  (samples of a rank, ranks): bytes that a step keeps beside that pass: cached features, and those of other ranks
    tiles     pictures of a sample at most
    """

    model: nn.Module
    side: int
    loss: Callable[[nn.Module, Phase], Tensor]
    features: Callable[[int, int], int]
    tiles: int = 1
