"""Activation checkpointing changes what is kept between the passes, and no number that is trained."""

from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.processes import one_process  # noqa: F401
from tests.support.stages import global_batch, stage_of, write_start
from tests.trainer_bridge.gradients import step
from trainer_bridge.models.blocks import Checkpointing, blocks_of, checkpoint_blocks

CPU = torch.device("cpu")
STAGES, KINDS = ("softmax", "generative", "chat"), ("selective", "blocks")
# Stage, kind, ZeRO stage, and one precision or the other: a covering part is quick.
MATRIX = [(*case, ("fp32", "bf16")[(number + number // 2) % 2]) for number, case in enumerate(product(range(4), STAGES, KINDS))]
QUICK = {(3, "softmax", "selective", "bf16"), (2, "generative", "selective", "bf16")}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, one_process: torch.device) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("start")
    write_start(folder)
    return folder


def gradients(name: str, start: Path, kind: Checkpointing, compiled: bool = False) -> dict[str, Tensor]:
    """The gradient of a batch in micro-batches of three, with dropped tokens, drop path and dropout."""
    changes = {"data": {"drop_tokens": 0.5}, **({"model": {"dropout": 0.3}} if name == "chat" else {})}
    stage = stage_of(name, start, **changes)
    for block in blocks_of(stage.model):
        if hasattr(block, "drop_path"):
            block.drop_path = 0.4
    checkpoint_blocks(stage.model, kind)
    for block in blocks_of(stage.model) if compiled else ():
        block.compile(backend="aot_eager")
    torch.manual_seed(5)
    for parts in stage.losses(stage.model, global_batch(), 3, CPU):
        sum(parts.values()).backward()
    return {key: parameter.grad for key, parameter in stage.model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("name", STAGES)
def test_gradients_are_those_without_it_bit_for_bit(name: str, start: Path) -> None:
    expected = gradients(name, start, "none")
    assert sum(tensor.abs().sum() > 0 for tensor in expected.values()) > 10
    for kind in KINDS:
        found = gradients(name, start, kind)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


@pytest.mark.parametrize(
    "zero, name, kind, precision",
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in MATRIX],
)
def test_the_trainers_gradient_is_that_without_it(
    zero: int,
    name: str,
    kind: str,
    precision: str,
    start: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    found, expected = (
        step(name, start, zero, 3, one_process, precision, activation_checkpointing=each) for each in (kind, "none")
    )
    assert found.keys() == expected.keys()
    # Under ZeRO-3 the linear layer is torch's or DeepSpeed's, which rounds once more in bf16.
    largest = max(tensor.abs().max().item() for tensor in expected.values())
    tolerance = max(1.0, largest) * (1e-6 if precision == "fp32" else 0.02)
    for key, tensor in expected.items():
        assert torch.allclose(found[key], tensor, rtol=1e-5, atol=tolerance), key


def kept_bytes(name: str, start: Path, kind: Checkpointing) -> int:
    """Bytes that the graph of a micro-batch keeps, parameters left out."""
    stage = stage_of(name, start)
    checkpoint_blocks(stage.model, kind)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in stage.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        graph = next(iter(stage.losses(stage.model, global_batch(), 8, CPU)))
    del graph
    return sum(kept.values())


@pytest.mark.parametrize("name", STAGES)
def test_blocks_keep_less(name: str, start: Path) -> None:
    assert kept_bytes(name, start, "blocks") < kept_bytes(name, start, "none") / 2


@pytest.mark.slow
@pytest.mark.parametrize("name, kind", product(["softmax", "chat"], KINDS))
def test_compiled_blocks_have_the_same_gradients(name: str, kind: Checkpointing, start: Path) -> None:
    torch._dynamo.reset()  # what was compiled for another model in this process may draw its random numbers in another order
    expected = gradients(name, start, "none")
    for key, tensor in gradients(name, start, kind, compiled=True).items():
        assert torch.allclose(tensor, expected[key], rtol=1e-4, atol=1e-6), key


def test_every_block_of_every_model_is_checkpointed(start: Path) -> None:
    for name in STAGES:
        model = stage_of(name, start).model
        plain = {block: block.forward for block in blocks_of(model)}
        checkpoint_blocks(model, "none")
        assert all(block.forward == forward for block, forward in plain.items())
        checkpoint_blocks(model, "blocks")
        assert plain and all("forward" in vars(block) for block in plain)
        assert not [m for m in model.modules() if "forward" in vars(m) and m not in plain and isinstance(m, nn.Module)]
