"""The loss of a model on the answers of conversations, padded or packed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from trainer_bridge.models.losses import answer_loss
from trainer_bridge.models.packed_attention import packed_options


class SequenceLoss(nn.Module, ABC):
    """A model that takes the fields of `Sequences` in their order; logits are computed at labelled positions only.

    A subclass holds the model.
    """

    @abstractmethod
    def states(self, ids: Tensor, pixels: Tensor, **options: Any) -> Tensor:
        """The last states [B, T, D] of ids int64[B, T] with pictures float32[K, 3, S, S]; `options` as of `packed_options`."""

    @property
    @abstractmethod
    def head(self) -> nn.Module:
        """What gives logits of states."""

    def forward(
        self,
        ids: Tensor,
        labels: Tensor,
        pixels: Tensor,
        weights: Tensor | None = None,
        positions: Tensor | None = None,
        ends: Tensor | None = None,
        longest: int = 0,
    ) -> Tensor:
        """Sum of the cross-entropy of labelled tokens, each times its weight; what is not said here is as in `Sequences`.

        ids, labels int64[B, T]; pixels float32[K, 3, S, S]
        """
        states = self.states(ids, pixels, **packed_options(positions, ends, longest))
        return answer_loss(self.head, states, labels, weights)
