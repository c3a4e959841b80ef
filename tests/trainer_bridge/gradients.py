"""What the ranks of a training step compute: `python -m tests.trainer_bridge.gradients FOLDER CASES` under torchrun.

Rank 0 writes the gradient and the losses of the global batch to FOLDER/<name>-<zero>-<micro batch>-<world>.safetensors.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch import distributed as dist

from tests.support.stages import global_batch, stage_of
from trainer_bridge import deepspeed_engine
from trainer_bridge.models.draws import sample_seeds
from trainer_bridge.models.negatives import append_rows_of_others, draw_pairs
from trainer_bridge.train import train_step


def step(
    name: str, folder: Path, zero: int, micro_batch: int, device: torch.device, precision: str = "fp32", **run: Any
) -> dict[str, Tensor]:
    """The gradient by each trained parameter, and each loss, of a step of the trainer with all ranks."""
    from deepspeed.utils import safe_get_full_grad

    world = dist.get_world_size()
    stage = stage_of(name, folder, run={"zero": zero, "micro_batch": micro_batch, "precision": precision, **run})
    engine = deepspeed_engine.initialise(stage.model, stage.parameters(), stage.experiment, world)
    batch = list(global_batch(name == "drawn").split(8 // world))[dist.get_rank()]
    update, results = engine.step, {}

    def remember_gradients() -> None:
        if engine.is_gradient_accumulation_boundary():
            for name, parameter in engine.module.named_parameters():
                if parameter.requires_grad:
                    results[name] = safe_get_full_grad(parameter).detach().float().clone()
        update()

    engine.step = remember_gradients
    torch.manual_seed(5 + dist.get_rank())
    losses = deepspeed_engine.total(train_step(stage, engine, batch, micro_batch, device))
    engine.destroy()
    return results | {name: torch.tensor(value) for name, value in losses.items()}


def check_negatives(count: int = 6) -> None:
    """Negatives come from all ranks, with another picture and another caption, and their pictures are fetched as they are."""
    world, rank = dist.get_world_size(), dist.get_rank()
    generator = torch.Generator().manual_seed(0)
    keys = torch.randint(0, 5, (2, world * count), generator=generator)
    valid = torch.rand(world * count, generator=generator) > 0.2
    own = slice(rank * count, (rank + 1) * count)
    rows = torch.arange(world * count).to(torch.bfloat16)[:, None]
    torch.manual_seed(rank)
    from_other_ranks = 0
    for step in range(10):
        image, text = (torch.randn(count, 4) for _ in range(2))
        seeds = sample_seeds(step, range(own.start, own.stop), image.device)
        pairs = draw_pairs(image, text, torch.tensor([1.0]), keys[:, own], valid[own], seeds)
        for sample, (i, j, match) in enumerate(zip(*(part.tolist() for part in pairs), strict=True), start=own.start):
            other = i if i != sample else j
            assert sample in (i, j) and match == (i == j)
            assert match or (valid[other] and (keys[:, other] != keys[:, sample]).all())
            from_other_ranks += not own.start <= other < own.stop
        bank, places = append_rows_of_others(rows[own], pairs.image_index)
        assert torch.equal(bank[:count], rows[own]) and torch.equal(bank[places], rows[pairs.image_index])
    assert world == 1 or from_other_ranks > 0


def main(folder: Path, cases: list[str]) -> None:
    """Cases are name:zero:micro_batch."""
    device = deepspeed_engine.start()
    check_negatives()
    for case in cases:
        name, zero, micro_batch = case.split(":")
        results = step(name, folder, int(zero), int(micro_batch), device)
        if dist.get_rank() == 0:
            save_file(results, folder / f"{name}-{zero}-{micro_batch}-{dist.get_world_size()}.safetensors")
    deepspeed_engine.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
