"""The memory plan is what a training step is measured to hold, and a plan that does not fit is refused in one line."""

from itertools import product
from pathlib import Path

import pytest
import torch

from tests.support.measured_memory import experiment, measured, planned
from tests.support.processes import one_process  # noqa: F401
from tests.support.stages import write_start
from trainer_bridge.checkpoints.model_folders import save_contrastive
from trainer_bridge.checkpoints.starts import start_contrastive
from trainer_bridge.data.tokenizer import train_tokenizer
from trainer_bridge.stages.chat_settings import ChatExperiment

STAGES, KINDS = ("softmax", "generative", "chat"), ("none", "selective", "blocks")
# ZeRO stage, stage, checkpointing, and one precision or the other: a covering part is quick.
MATRIX = [(*case, ("fp32", "bf16")[number % 2]) for number, case in enumerate(product(range(4), STAGES, KINDS))]
QUICK = {(3, "softmax", "blocks", "bf16"), (1, "generative", "none", "fp32")}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, one_process: torch.device) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("start")
    write_start(folder)
    model = start_contrastive(experiment("softmax").model, None)[0].filled()
    save_contrastive(folder / "wide", model.config, model.state_dict(), train_tokenizer(["a red fox in the snow"] * 9, 300))
    return folder


@pytest.mark.parametrize(
    "zero, name, kind, precision",
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in MATRIX],
)
def test_the_plan_is_within_a_fifth_of_what_is_measured(
    zero: int,
    name: str,
    kind: str,
    precision: str,
    start: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    settings = experiment(name, activation_checkpointing=kind, zero=zero, precision=precision)
    parts = planned(name, settings, start, 1)
    found = measured(name, settings, start, one_process)
    assert sum(part.size for part in parts) == pytest.approx(found, rel=0.2), [(part.name, part.size) for part in parts]


@pytest.mark.parametrize("packing", [{"tokens": 4 * 96, "tiles": 4}, {"tokens": 16 * 96, "tiles": 16}])
def test_a_pack_is_planned_for_whatever_the_micro_batch(
    packing: dict[str, int],
    start: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    settings = experiment("chat", {"packing": packing}, precision="fp32", micro_batch=1)
    parts = planned("chat", settings, start, 1)
    found = measured("chat", settings, start, one_process)
    assert sum(part.size for part in parts) == pytest.approx(found, rel=0.2), [(part.name, part.size) for part in parts]


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, (8, 1, 80)),  # captions: a picture is one tile
        ({"conversations": {"max_dynamic_patch": 1}}, (8, 1, 80)),
        ({"conversations": {"max_dynamic_patch": 3}}, (8, 4, 32)),  # and a thumbnail
        ({"conversations": {"max_dynamic_patch": 12}}, (8, 5, 16)),  # as many as a conversation has room for
        ({"packing": {"tokens": 200, "tiles": 4}}, (3, 2, 64)),  # the pack, not the micro-batch
        ({"packing": {"tokens": 960, "tiles": 400}}, (10, 5, 16)),
    ],
)
def test_the_largest_pass_of_conversations(sections: dict[str, dict[str, int]], expected: tuple[int, int, int]) -> None:
    settings = experiment("chat", sections)
    assert isinstance(settings, ChatExperiment) and settings.largest_pass(settings.run.micro_batch, 16) == expected
