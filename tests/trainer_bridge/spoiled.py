"""Training steps whose loss or gradient is not finite: `python -m tests.trainer_bridge.spoiled FOLDER` under torchrun.

There one rank alone has such a loss, and all must go on as if the step had not been.
"""

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from tests.support.stages import global_batch, stage_of
from trainer_bridge import deepspeed_engine
from trainer_bridge.optimizer import AVERAGE
from trainer_bridge.stages import Stage
from trainer_bridge.train import train_step


def infinite_gradient(loss: Tensor) -> Tensor:
    """The loss as it is, with a gradient that is not finite."""
    loss = loss * 1
    loss.register_hook(lambda gradient: gradient * math.inf)
    return loss


SPOILED: dict[str, Callable[[Tensor], Tensor]] = {
    "NaN in both": lambda loss: loss * math.nan,
    "infinite loss, finite gradient": lambda loss: loss + math.inf,
    "finite loss, infinite gradient": infinite_gradient,
}


class Run:
    """A stage in the trainer's engine, step by step on the same batch, in micro-batches of three samples."""

    def __init__(self, name: str, folder: Path, zero: int, precision: str = "fp32", **optimizer: Any) -> None:
        self.stage = stage_of(name, folder, run={"zero": zero, "micro_batch": 3, "precision": precision}, optimizer=optimizer)
        world = dist.get_world_size()
        self.device = torch.device("cpu")
        self.engine = deepspeed_engine.initialise(self.stage.model, self.stage.parameters(), self.stage.experiment, world)
        self.batch = list(global_batch().split(8 // world))[dist.get_rank()]
        self.zero = zero
        self.losses = self.stage.losses

    def step(self, spoiled: str = "") -> float:
        """A step, whose second micro-batch is spoiled if a kind is named; the norm of its gradient."""

        def losses(*arguments: Any) -> Iterator[dict[str, Tensor]]:
            for i, parts in enumerate(self.losses(*arguments)):
                yield {name: SPOILED[spoiled](loss) if spoiled and i == 1 else loss for name, loss in parts.items()}

        self.stage.losses = losses  # type: ignore[method-assign]
        torch.manual_seed(0)
        train_step(self.stage, self.engine, self.batch, 3, self.device)
        return deepspeed_engine.gradient_norm(self.engine)

    def weights(self) -> dict[str, Tensor]:
        """All weights, by name."""
        return deepspeed_engine.full_state(self.engine)

    def averages(self) -> dict[str, Tensor]:
        """The average of all weights, by name."""
        with deepspeed_engine.averaged_weights(self.engine):
            return deepspeed_engine.full_state(self.engine)

    def masters(self) -> dict[str, Tensor]:
        """The weights that the optimizer updates."""
        from deepspeed.utils import safe_get_full_fp32_param

        named = dict(self.engine.module.named_parameters())
        return {name: safe_get_full_fp32_param(p) if self.zero else p.detach() for name, p in named.items()}

    def moments(self) -> dict[str, Tensor]:
        """The first moments of the gradient, as they lie on this rank."""
        optimizer = self.engine.optimizer.optimizer if self.zero else self.engine.optimizer
        assert all(AVERAGE in state for state in optimizer.state.values()) == bool(self.stage.experiment.optimizer.ema)
        return {str(i): state["exp_avg"].clone() for i, state in enumerate(optimizer.state.values())}


def gradient_norm(stage: Stage) -> float:
    """The norm of the gradient of a step on the whole batch, without DeepSpeed."""
    torch.manual_seed(0)
    for parts in stage.losses(stage.model, global_batch(), 8, torch.device("cpu")):
        sum(parts.values()).backward()
    return math.sqrt(sum(p.grad.double().square().sum().item() for p in stage.model.parameters() if p.grad is not None))


def main(folder: Path) -> None:
    """Spoils the loss of the last rank alone."""
    deepspeed_engine.start()
    for zero in range(4):
        straight, spoiled = (Run("softmax", folder, zero, ema=0.9) for _ in range(2))
        for kind in SPOILED:
            straight.step()
            assert not math.isfinite(spoiled.step(kind if dist.get_rank() == dist.get_world_size() - 1 else "")), kind
            spoiled.step()
        for one, other in ((straight.weights(), spoiled.weights()), (straight.averages(), spoiled.averages())):
            assert one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items()), zero
    deepspeed_engine.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
