"""What computes the figures of a model. Every rank has one, on its device, and all call it together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn

from trainer_bridge.evaluation.evaluation_set import EvaluationSet

SAMPLES = 4000


class Evaluator(ABC):
    """The model of a stage, in training or loaded, and what its figures need.

    kinds    the kinds of figures that it computes
    heldout  those of them that are computed on the held-out split of the shards trained on, over `samples` samples at most
    run      calls a function of the model: (function, inputs …) → what it returns; in training a forward pass of DeepSpeed
    """

    kinds: ClassVar[tuple[str, ...]]
    heldout: ClassVar[tuple[str, ...]]
    samples: ClassVar[int] = SAMPLES
    model: nn.Module
    device: torch.device
    run: Callable[..., Any]

    def __init__(self, device: torch.device) -> None:
        self.device, self.run = device, lambda function, *inputs, **named: function(*inputs, **named)

    @abstractmethod
    def figures(self, kind: str, data: EvaluationSet) -> dict[str, Any]:
        """The figures of a kind by name, the same on every rank; RequestError in one line when `data` lacks what they need.

        The model is in evaluation mode, and no gradients are taken.
        """
