"""How far a training is, by steps or by a limit in seconds."""

from __future__ import annotations

import time

import torch
from torch import distributed as dist


class Clock:
    """Progress and time of a training. All ranks agree, as rank 0 decides.

    `seconds_before` are those trained before a resume: they count in the limit and in every rate.
    """

    def __init__(self, steps: int, limit: float, seconds_before: float, device: torch.device) -> None:
        self.steps, self.limit, self.started = steps, limit, time.monotonic() - seconds_before
        self.device = device

    def elapsed(self) -> float:
        """Seconds trained, those before a resume included."""
        return time.monotonic() - self.started

    def progress(self, step: int) -> float:
        """0 at the start; from 1 on training stops."""
        by_steps = step / self.steps
        if not self.limit:
            return by_steps
        agreed = torch.tensor([max(by_steps, self.elapsed() / self.limit)], device=self.device)
        dist.broadcast(agreed, 0)
        return float(agreed.item())

    def remaining(self, step: int) -> float:
        """Estimated seconds after this step."""
        if self.limit:
            return max(0.0, self.limit - self.elapsed())
        return self.elapsed() / (step + 1) * (self.steps - step - 1)
