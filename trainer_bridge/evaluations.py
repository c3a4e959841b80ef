"""The evaluations of an experiment on the model in training, on all ranks: every few steps and at the end."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from trainer_bridge import deepspeed_engine
from trainer_bridge.evaluation.evaluator import Evaluator
from trainer_bridge.evaluation.plan import HELDOUT, Evaluation
from trainer_bridge.models.losses import rank

HEADLINES = ("recall@1", "image_to_text_recall@1", "accuracy@1", "caption_loss", "itm_accuracy")  # written to stderr

Figures = dict[str, dict[str, Any]]


class Evaluations:
    """Figures by the name of the evaluation, after every `every` steps and at the end (0: only there); all ranks call it.

    They are those of the weights that are saved: the moving average where one is kept.
    """

    def __init__(self, engine: Any, evaluator: Evaluator, evaluations: Sequence[Evaluation], every: int) -> None:
        self.engine, self.evaluator, self.evaluations, self.every = engine, evaluator, evaluations, every
        self.evaluator.run = partial(deepspeed_engine.run, engine)
        self.latest: tuple[int, Figures] = -1, {}

    def after(self, steps: int) -> Figures:
        """The figures after so many steps, if they are due."""
        return self.figures(steps) if self.every and steps % self.every == 0 else {}

    def figures(self, steps: int) -> Figures:
        """The figures after so many steps; computed once."""
        if self.latest[0] != steps:
            with deepspeed_engine.evaluating(self.engine), deepspeed_engine.averaged_weights(self.engine):
                self.latest = steps, {each.name: each.figures(self.evaluator) for each in self.evaluations}
            if rank() == 0:
                sys.stderr.writelines(f"evaluation {name}  {headlines(each)}\n" for name, each in self.latest[1].items())
        return self.latest[1]

    def summary(self, steps: int) -> dict[str, Any]:
        """For summary.json: the figures on the held-out split, and those of other evaluations by their names."""
        figures = dict(self.figures(steps))
        heldout = figures.pop(HELDOUT, {})
        return heldout | ({"evaluation": figures} if figures else {})


def headlines(figures: Mapping[str, Any]) -> str:
    """The figures that a person looks at first, in one line."""
    return "  ".join(f"{name} {figures[name]:.3f}" for name in HEADLINES if name in figures)
