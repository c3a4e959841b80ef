"""AdamW that keeps a moving average of the weights, and one that clips its gradient and skips a step that is not finite.

The average is a state of the optimizer, as the moments are. So it lies where they lie, under any ZeRO stage on the rank that
updates the weights, and is saved with them, and a step that is skipped leaves it as it was.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

AVERAGE = "average"  # the name of the state
RAMP = 10  # the average is over a tenth of the steps so far, until that is more than its decay allows; as in TensorFlow and timm


class AdamW(torch.optim.AdamW):
    """torch's fused AdamW. `average` is the decay of the moving average of the weights at each step; 0: none is kept."""

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float], average: float = 0.0) -> None:
        super().__init__(groups, betas=betas, fused=True)
        self.average = average

    def step(self, closure: Any = None) -> None:
        """An update of the weights that have a gradient, and of their average."""
        super().step(closure)
        if self.average:
            updated = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
            with torch.no_grad():
                for weights in updated:
                    self._update_average(weights)

    def _update_average(self, weights: nn.Parameter) -> None:
        state = self.state[weights]
        if AVERAGE not in state:
            state[AVERAGE] = weights.detach().clone()
        # Computed on the device: the processor would wait for a number.
        share = ((RAMP - 1) / (RAMP + state["step"])).clamp(min=1 - self.average)
        state[AVERAGE].lerp_(weights, share)


class ClippedAdamW(AdamW):
    """Without ZeRO, whose optimizers do this themselves: it clips the norm of all gradients, and skips where it is not finite.

    `overflow` and `_global_grad_norm` are what DeepSpeed's engine reads of its own optimizers after a step.
    """

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float], average: float, clip_norm: float) -> None:
        super().__init__(groups, betas, average)
        self.clip_norm, self.overflow = clip_norm, False
        self._global_grad_norm: Tensor | float = 0.0

    def step(self, closure: Any = None) -> None:
        """Clips, and updates where the norm of the gradient is finite."""
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        self.grad_scale = (norm / self.clip_norm).clamp(min=1.0)  # torch's fused update divides by it as it reads the gradient
        self._global_grad_norm, self.overflow = norm, not torch.isfinite(norm).item()
        if not self.overflow:
            super().step(closure)
