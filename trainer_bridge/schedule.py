"""Learning-rate schedules as factors of the peak rate."""

from __future__ import annotations

import math


def cosine(step: int, warmup: int, steps: int) -> float:
    """Linear from 0 to 1 over `warmup` steps, then half a cosine down to 0 at `steps`."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))
