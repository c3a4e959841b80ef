"""A sample that could not be loaded has no part in any stage's loss, and a batch of nothing else is harmless."""

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed as dist

from sharding import Sample, read_dataset
from tests.support.shards import write_dataset
from tests.trainer_bridge.test_train import CONFIGS
from trainer_bridge.checkpoints.building import fill
from trainer_bridge.checkpoints.model_folders import save_contrastive
from trainer_bridge.data.batch import Batch
from trainer_bridge.data.tokenizer import train_tokenizer
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.stages import Stage, find_stages

CAPTIONS = [f"a {colour} fox number {number}" for number, colour in enumerate(["red", "green", "blue", "white", "gray", "old"])]
BROKEN = (0, 3, 4)


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    file = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def stage_of(name: str, folder: Path) -> Stage:
    kinds = find_stages()
    torch.manual_seed(0)
    experiments = {each: kinds[each].experiment_type.model_validate(tomllib.loads(CONFIGS[each])) for each in CONFIGS}
    write_dataset(folder, {"train": [[Sample(n, b"\xff\xd8\xff", text, b"{}") for n, text in enumerate(CAPTIONS)]]})
    sizes = experiments["contrastive"].model
    save_contrastive(folder / "stage1", sizes, ContrastiveModel(sizes).state_dict(), train_tokenizer(CAPTIONS, 300))
    start = None if name == "contrastive" else folder / "stage1"
    stage = kinds[name](experiments[name], read_dataset(str(folder)), start, folder)
    fill(stage.model, stage.tensors, torch.device("cpu"))
    stage.model.eval()
    return stage


def batches() -> tuple[Batch, Batch]:
    """A batch of nine of which three are broken, and the six alone."""
    pixels = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    kept = [place for place in range(9) if place not in BROKEN]
    whole = Batch(pixels, CAPTIONS, [b"{}"] * 6, list(range(6)), list(range(6)), kept, torch.ones(6, dtype=torch.bool), [])
    rows = dict(zip(kept, range(6), strict=True))
    black = torch.zeros_like(pixels[0])
    return replace(
        whole,
        pixels=torch.stack([pixels[rows[place]] if place in rows else black for place in range(9)]),
        captions=[CAPTIONS[rows[place]] if place in rows else "" for place in range(9)],
        json=[b"{}"] * 9,
        positions=list(range(9)),
        sample_ids=list(range(9)),
        image_keys=list(range(9)),
        valid=torch.tensor([place in rows for place in range(9)]),
    ), whole


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_broken_samples_move_no_loss_and_none_alone_makes_a_nan(name: str, tmp_path: Path, group: None) -> None:
    stage, device = stage_of(name, tmp_path), torch.device("cpu")
    broken, whole = batches()
    losses, expected = (next(stage.losses(stage.model, batch, 9, device)) for batch in (broken, whole))
    for term in losses.keys() - {"itm"}:  # whose negatives are drawn
        assert losses[term].item() == pytest.approx(expected[term].item(), abs=1e-5), term
    nothing = replace(broken, captions=[""] * 9, valid=torch.zeros(9, dtype=torch.bool))
    loss = sum(next(stage.losses(stage.model, nothing, 9, device)).values()) + sum(losses.values())
    loss.backward()
    gradients = [parameter.grad for parameter in stage.model.parameters() if parameter.grad is not None]
    assert gradients and all(np.isfinite(gradient.numpy()).all() for gradient in gradients)
