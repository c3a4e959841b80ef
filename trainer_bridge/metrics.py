"""What a training writes while it runs: metrics.jsonl, lines of progress on stderr, and the samples that were left out."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer_bridge.clock import Clock

LOG_EVERY = 10  # steps between two lines of progress on stderr


class MetricsLog:
    """DIR/metrics.jsonl, a line for each step, and every few steps one on stderr. Rank 0 writes it."""

    def __init__(self, out: Path, resumed: bool, clock: Clock) -> None:
        self.file, self.clock = (out / "metrics.jsonl").open("a" if resumed else "w"), clock

    def write(self, step: int, losses: dict[str, float], norm: float, rate: float, samples: int, faults: int) -> None:
        """The losses of a step by name, the norm of its gradient before it was clipped, its learning rate, the samples up to its
        end, and how many of its own were left out. What is not finite is null; where the norm is not, the step was skipped.
        """
        seconds, loss = self.clock.elapsed(), sum(losses.values())
        row: dict[str, Any] = {"step": step, "loss": _finite(loss), "lr": rate, "samples": samples, "faults": faults}
        row |= {"losses": {name: _finite(value) for name, value in losses.items()}, "seconds": round(seconds, 2)}
        row |= {"grad_norm": _finite(norm), "skipped": not math.isfinite(norm)}
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
        if step % LOG_EVERY == 0:
            terms = "" if len(losses) == 1 else " (" + ", ".join(f"{name} {value:.3f}" for name, value in losses.items()) + ")"
            rates = f"{samples / seconds:,.0f} samples/s  {self.clock.remaining(step):.0f}s left"
            sys.stderr.write(f"train      step {step} / {self.clock.steps}  loss {loss:.3f}{terms}  {rates}\n")


def write_faults(path: Path, step: int, faults: Sequence[str]) -> None:
    """Appends a line for each sample of a rank's batch that was left out."""
    if faults:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"step": step, "fault": fault}, ensure_ascii=False) + "\n" for fault in faults)


def counts(out: Path) -> dict[str, int]:
    """`faults`, the samples left out in all steps, and `skipped_steps`; of a step done again after a resume the last counts."""
    rows = {row["step"]: row for row in map(json.loads, (out / "metrics.jsonl").read_text().splitlines())}
    return {name: sum(row[key] for row in rows.values()) for name, key in (("faults", "faults"), ("skipped_steps", "skipped"))}


def _finite(value: float) -> float | None:
    """Rounded for a log; None for what JSON has no number for."""
    return round(value, 5) if math.isfinite(value) else None
