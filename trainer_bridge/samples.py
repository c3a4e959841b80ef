"""Answers of the model in training to questions of its own data, written every few steps: what no loss shows."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trainer_bridge import deepspeed_engine
from trainer_bridge.models.losses import rank
from trainer_bridge.stages import Stage


class Samples:
    """Answers after every `every` steps (0: none) to DIR/samples.jsonl and stderr; all ranks call it."""

    def __init__(self, engine: Any, stage: Stage, every: int, out: Path, device: torch.device) -> None:
        self.engine, self.stage, self.every, self.out, self.device = engine, stage, every, out, device

    def after(self, steps: int) -> None:
        """Writes what the model says after so many steps, if it is due."""
        if not (self.every and steps) or steps % self.every:
            return
        with deepspeed_engine.evaluating(self.engine), deepspeed_engine.averaged_weights(self.engine):
            rows = self.stage.samples(steps, self.device, partial(deepspeed_engine.run, self.engine))
        if rank() == 0 and rows:
            with (self.out / "samples.jsonl").open("a", encoding="utf-8") as file:
                file.writelines(json.dumps({"step": steps, **row}, ensure_ascii=False) + "\n" for row in rows)
            sys.stderr.writelines(f"sample     {_line(row['question'])} → {_line(row['answer'])}\n" for row in rows)


def _line(text: str, most: int = 100) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
