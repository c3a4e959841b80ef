"""The batch is the batch: losses and gradients of a step do not depend on ranks, micro-batches or ZeRO stage."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests import ROOT
from tests.support.processes import one_process  # noqa: F401
from tests.support.stages import CONFIGS, experiment_of, global_batch, stage_of, write_start
from tests.trainer_bridge.gradients import step
from trainer_bridge.checkpoints.starts import start_contrastive
from trainer_bridge.models.pair_loss import Features
from trainer_bridge.stages.feature_cache import loss_parts

CPU = torch.device("cpu")
EXACT = 1e-5


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    write_start(folder)
    return folder


def plain_gradients(name: str, start: Path, micro_batch: int) -> dict[str, Tensor]:
    """The gradient of a step on one process, without DeepSpeed."""
    stage = stage_of(name, start)
    torch.manual_seed(5)
    totals: dict[str, Tensor] = {}
    for parts in stage.losses(stage.model, global_batch(name == "drawn"), micro_batch, CPU):
        sum(parts.values()).backward()
        totals = {term: value.detach() + totals.get(term, 0) for term, value in parts.items()}
    return {key: p.grad for key, p in stage.model.named_parameters() if p.grad is not None} | totals


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = EXACT) -> None:
    assert found.keys() == expected.keys()
    largest = max(tensor.abs().max().item() for tensor in expected.values())
    for key, tensor in expected.items():
        assert torch.allclose(found[key], tensor, rtol=0, atol=tolerance * max(1, largest)), key


@pytest.mark.parametrize("name", CONFIGS)
def test_the_gradient_does_not_depend_on_the_micro_batch(name: str, start: Path, one_process: torch.device) -> None:  # noqa: F811
    expected = plain_gradients(name, start, 8)
    assert all(tensor.abs().sum() > 0 for tensor in expected.values() if tensor.ndim == 2)
    for micro_batch in (1, 3, 20):
        assert_same(plain_gradients(name, start, micro_batch), expected)


@pytest.mark.parametrize("name, zero", [("softmax", 0), ("sigmoid", 1), ("generative", 2), ("generative", 3), ("chat", 3)])
def test_the_trainers_gradient_is_that_of_the_whole_batch(
    name: str,
    zero: int,
    start: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    assert_same(step(name, start, zero, 3, one_process), plain_gradients(name, start, 8))


def test_packed_conversations_have_the_gradient_of_padded_ones(start: Path, one_process: torch.device) -> None:  # noqa: F811
    assert_same(plain_gradients("packed", start, 8), plain_gradients("chat", start, 3))


@pytest.mark.parametrize("name", ["softmax", "generative"])
def test_the_gradient_in_bf16_differs_by_rounding(name: str, start: Path, one_process: torch.device) -> None:  # noqa: F811
    whole, parts = (step(name, start, 1, micro_batch, one_process, "bf16") for micro_batch in (8, 3))
    assert_same(parts, whole, 0.02)


def test_dropped_tokens_and_paths_are_the_same_in_both_passes(start: Path, one_process: torch.device) -> None:  # noqa: F811
    stage = stage_of("softmax", start)
    for block in stage.model.image_tower.blocks:
        block.drop_path = 0.4
    passes: list[list[Tensor]] = []

    def features(part: object) -> Features:
        pixels = part.pixels.float() / 255
        tokens = torch.ones(len(pixels), 2, dtype=torch.int64)
        outputs = stage.model(pixels, tokens, torch.full((len(pixels),), 2), 0.5)
        passes.append([outputs.image.detach(), outputs.text.detach()])
        return outputs

    parts = list(loss_parts(features, global_batch(), 3, CPU))
    assert len(parts) == 3 and len(passes) == 6
    for first, second in zip(passes[:3], passes[3:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    whole, again = (stage.model.image_tower(torch.ones(3, 3, 16, 16), 0.5) for _ in range(2))
    assert not torch.equal(whole, again)


def test_the_sigmoid_loss_starts_with_siglips_scale_and_bias_and_is_not_mixed_with_the_softmax_loss(start: Path) -> None:
    model = start_contrastive(experiment_of("sigmoid").model, None)[0].filled()
    assert model.logit_scale.exp().item() == pytest.approx(10) and model.logit_bias.item() == -10
    with pytest.raises(ValueError, match=r"another model\.loss \(softmax, not sigmoid\)"):
        start_contrastive(experiment_of("sigmoid").model, start / "softmax")


def on_ranks(world: int, start: Path, cases: list[str]) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(world)]
    command += ["-m", "tests.trainer_bridge.gradients", str(start), *cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]


def assert_ranks_agree(world: int, start: Path, cases: list[str]) -> None:
    on_ranks(world, start, cases)
    for case in cases:
        name, zero, micro_batch = case.split(":")
        found = load_file(start / f"{name}-{zero}-{micro_batch}-{world}.safetensors")
        assert_same(found, plain_gradients(name, start, 8))


def test_two_ranks_draw_negatives_from_both_and_compute_the_gradient_of_the_whole_batch(
    start: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    assert_ranks_agree(2, start, ["softmax:1:3", "sigmoid:2:4", "generative:3:3", "drawn:1:1", "packed:3:1"])


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2, 4])
def test_any_ranks_micro_batch_and_zero_stage_compute_the_gradient_of_the_whole_batch(
    world: int,
    start: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    sizes = [1, 2, 3, 8]
    cases = [f"{name}:{zero}:{sizes[(i + zero + world) % 4]}" for (i, name), zero in product(enumerate(CONFIGS), range(4))]
    assert_ranks_agree(world, start, cases)
