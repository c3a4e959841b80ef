"""A step that is not finite changes nothing, and the average of the weights is what its formula says, under each ZeRO stage."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import ROOT
from tests.support.processes import one_process  # noqa: F401
from tests.support.stages import stage_of, write_start
from tests.trainer_bridge.spoiled import SPOILED, Run, gradient_norm
from trainer_bridge import deepspeed_engine


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    write_start(folder)
    return folder


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert not [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]


def stages_of_zero(*quick: int) -> pytest.MarkDecorator:
    """All ZeRO stages, those that are not named in the slow half."""
    return pytest.mark.parametrize("zero", [pytest.param(z, marks=() if z in quick else pytest.mark.slow) for z in range(4)])


@stages_of_zero(0, 1)
def test_a_step_without_a_finite_loss_and_gradient_changes_nothing(
    zero: int,
    start: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    straight, spoiled = (Run("softmax", start, zero, ema=0.9) for _ in range(2))
    norms = [straight.step() for _ in range(2)]
    again = [spoiled.step()]
    before = spoiled.weights()
    assert not [kind for kind in SPOILED if math.isfinite(spoiled.step(kind))]
    assert_equal(spoiled.weights(), before)
    again.append(spoiled.step())
    assert again == norms and norms[0] == pytest.approx(gradient_norm(stage_of("softmax", start)), rel=1e-4)
    assert_equal(spoiled.weights(), straight.weights())
    assert_equal(spoiled.averages(), straight.averages())
    assert_equal(spoiled.moments(), straight.moments())


@stages_of_zero(1)
def test_the_average_is_that_of_the_weights_after_each_step(zero: int, start: Path, one_process: torch.device) -> None:  # noqa: F811
    run, expected = Run("softmax", start, zero, ema=0.3), {}
    for step in range(1, 5):
        run.step()
        weights = run.weights()
        share = max(1 - 0.3, 9 / (10 + step))  # the decay of step n is at most (1 + n) / (10 + n)
        expected = {name: (1 - share) * expected.get(name, tensor) + share * tensor for name, tensor in weights.items()}
    averages = run.averages()
    assert not [name for name, tensor in expected.items() if not torch.allclose(averages[name], tensor, atol=1e-6)]
    assert not torch.allclose(averages["text_projection.weight"], weights["text_projection.weight"], atol=1e-5)
    assert_equal(run.weights(), weights)
    (run.engine.optimizer.optimizer if zero else run.engine.optimizer).average = 0.0  # as after a resume without `ema`
    assert_equal(run.averages(), weights)
    run.step()
    assert not torch.allclose(run.weights()["text_projection.weight"], weights["text_projection.weight"], atol=1e-5)


@stages_of_zero(0)
def test_the_gradient_is_clipped_and_its_norm_is_that_before(zero: int, start: Path, one_process: torch.device) -> None:  # noqa: F811
    run = Run("softmax", start, zero, clip_norm=1e-3)
    assert run.step() == pytest.approx(gradient_norm(stage_of("softmax", start)), rel=1e-4)
    moments = math.sqrt(sum(tensor.double().square().sum().item() for tensor in run.moments().values()))
    assert moments == pytest.approx(0.1 * 1e-3, rel=1e-3)  # the first moment after one step, as beta is 0.9


@stages_of_zero(1)
def test_what_is_saved_in_bf16_is_the_float32_that_is_trained(zero: int, start: Path, one_process: torch.device) -> None:  # noqa: F811
    run = Run("softmax", start, zero, precision="bf16")
    run.step()
    weights = run.weights()
    assert_equal(weights, run.masters())
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())
    rounded = [name for name, tensor in weights.items() if torch.equal(tensor, tensor.bfloat16().float())]
    assert "image_tower.blocks.0.mlp.0.weight" not in rounded and "logit_scale" not in rounded


@stages_of_zero(3)
def test_weights_that_are_not_finite_are_seen(zero: int, start: Path, one_process: torch.device) -> None:  # noqa: F811
    run = Run("softmax", start, zero)
    assert deepspeed_engine.weights_are_finite(run.engine)
    deepspeed_engine.own_piece(run.engine.module.text_projection.weight).view(-1)[-1] = math.inf
    assert not deepspeed_engine.weights_are_finite(run.engine)


@pytest.mark.slow
def test_all_ranks_skip_what_one_cannot_use(start: Path) -> None:
    command: list[Any] = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, "-m", "tests.trainer_bridge.spoiled", str(start)], capture_output=True, text=True, timeout=1200, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
