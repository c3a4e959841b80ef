"""Models built without data are filled as if they had been built with it, and no rank holds more than its share on the way."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tests import ROOT
from tests.support.stages import CONTRASTIVE, write_start
from tests.support.towers import SIX_B, SMALL, generative_model
from trainer_bridge.checkpoints.building import Start, fill
from trainer_bridge.checkpoints.model_folders import load_contrastive
from trainer_bridge.models.contrastive import ContrastiveConfig, ContrastiveModel
from trainer_bridge.models.internvl import LanguageConfig, join_internvl, language_settings
from trainer_bridge.models.qllama import GenerativeConfig, GenerativeModel
from trainer_bridge.models.text_tower import Architecture, TextConfig

CPU = torch.device("cpu")
TEXT = TextConfig(vocabulary=300, width=32, depth=3, heads=4, mlp=48)
QWEN = TEXT.model_copy(update={"architecture": Architecture(model_type="qwen3", head_dim=16), "output_head": True})


def contrastive(text: TextConfig = TEXT, **settings: object) -> ContrastiveModel:
    return ContrastiveModel(ContrastiveConfig(image=SIX_B, text=text, embedding=12, pool_heads=4).model_copy(update=settings))


def internvl() -> nn.Module:
    language = language_settings(LanguageConfig(vocabulary=300, width=32, depth=2, heads=2, mlp=48), 64, 0, 1)
    return join_internvl(SIX_B, language, 2, 0.5)


def moments(tensor: torch.Tensor) -> tuple[float, float]:
    return tensor.mean().item(), tensor.std(correction=0).item()


KINDS: dict[str, Callable[[], nn.Module]] = {
    "contrastive": contrastive,
    "sigmoid, class token, LayerNorm": lambda: contrastive(loss="sigmoid", pool="class", image=SMALL),
    "qwen3 with a head": lambda: contrastive(QWEN),
    "generative": lambda: GenerativeModel(contrastive(), GenerativeConfig(queries=5, cross_heads=4, pool_heads=4)),
    "internvl": internvl,
}


@pytest.mark.parametrize("build", KINDS.values(), ids=KINDS)
def test_a_filled_model_is_drawn_as_one_that_is_built_with_data(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    expected = build()
    tensors = {"logit_scale": torch.full((1,), 2.5)} if build is KINDS["generative"] else {}
    with torch.device("meta"):
        start = Start(build(), tensors)
    objects = dict(start.model.named_parameters())
    model = start.filled()
    assert not start.tensors and dict(model.named_buffers()).keys() == dict(expected.named_buffers()).keys()
    assert all(torch.equal(buffer, dict(expected.named_buffers())[name]) for name, buffer in model.named_buffers())
    found = dict(model.named_parameters())
    assert found.keys() == dict(expected.named_parameters()).keys()
    for name, tensor in expected.named_parameters():
        assert found[name] is objects[name] and found[name].requires_grad == tensor.requires_grad
        assert found[name].shape == tensor.shape and found[name].dtype == torch.float32
        if name.endswith("logit_scale") and start.model.__class__ is GenerativeModel:
            continue
        (mean, spread), (known_mean, known) = moments(found[name]), moments(tensor)
        if known and tensor.numel() < 64:
            continue  # too few numbers for moments
        error = 6 / tensor.numel() ** 0.5
        assert mean == pytest.approx(known_mean, abs=error * known + 1e-6), name
        assert spread == pytest.approx(known, rel=error, abs=1e-6), name


def test_the_same_seed_draws_the_same_model_and_another_one_another() -> None:
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        with torch.device("meta"):
            start = Start(contrastive())
        return torch.cat([parameter.flatten() for parameter in start.filled().parameters()])

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))


def test_tensors_are_taken_by_name_and_shared_ones_stay_shared() -> None:
    whole = generative_model()
    with torch.device("meta"):
        model = GenerativeModel(ContrastiveModel(whole.stage1.config), whole.config)
    fill(model, whole.state_dict(), CPU)
    assert all(torch.equal(tensor, whole.state_dict()[name]) for name, tensor in model.state_dict().items())
    with torch.device("meta"):
        chat = internvl()
    fill(chat, {}, CPU)
    assert chat.lm_head.weight is chat.model.language_model.embed_tokens.weight
    real = nn.Linear(2, 2)
    before = real.weight.detach().clone()
    fill(real, {"weight": torch.zeros(2, 2)}, CPU)
    assert torch.equal(real.weight, before)  # a model with data is left as it is


@pytest.mark.slow
def test_under_zero_3_no_rank_holds_the_whole_model(tmp_path: Path) -> None:
    document = tomllib.loads(CONTRASTIVE)
    document["model"]["image"] |= {"width": 512, "depth": 8, "heads": 8, "mlp": 2048}
    write_start(tmp_path)
    (tmp_path / "wide.json").write_text(json.dumps(document))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "tests.trainer_bridge.building", str(tmp_path)]
    freed_at_once = dict(os.environ, MALLOC_MMAP_THRESHOLD_="65536")  # so that memory is what is held, not what malloc keeps
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, cwd=ROOT, env=freed_at_once)
    assert done.returncode == 0, done.stderr[-3000:]
    whole = load_contrastive(tmp_path / "wide")[0].state_dict()
    size = sum(4 * tensor.numel() for tensor in whole.values())
    growth = [json.loads((tmp_path / f"growth-{rank}.json").read_text()) for rank in range(2)]
    assert size > 80 << 20 and all(0.4 * size < grown < 0.75 * size for each in growth for grown in each.values()), growth
    again = load_contrastive(tmp_path / "again")[0].state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
