"""The FLOPs of a step by formula are those that torch counts, in each stage."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.support.processes import one_process  # noqa: F401
from tests.support.stages import global_batch, stage_of, write_start
from trainer_bridge import flops
from trainer_bridge.models.contrastive import ContrastiveConfig, ContrastiveModel
from trainer_bridge.models.internvit import InternViT, InternViTConfig
from trainer_bridge.models.internvl import ChatLoss, LanguageConfig, build_internvl, is_trained, new_language_model
from trainer_bridge.models.losses import IGNORED
from trainer_bridge.models.qllama import Examples, GenerativeConfig, GenerativeModel, Pictures, Tokens
from trainer_bridge.models.text_tower import Architecture, TextConfig
from trainer_bridge.schedule import Phase

TOKENS, BATCH = 12, 3
IMAGE = InternViTConfig(image_size=32, patch=8, width=32, depth=2, heads=2, mlp=64)
TEXT = TextConfig(vocabulary=320, length=16, width=32, depth=2, heads=2, mlp=64)
STAGE1 = ContrastiveConfig(image=IMAGE, text=TEXT, pool_heads=2, embedding=64)
GROUPED = STAGE1.model_copy(update={"text": TEXT.model_copy(update={"architecture": Architecture(num_key_value_heads=1)})})


def counted(compute: Callable[[], torch.Tensor]) -> float:
    """FLOPs a sample that torch counts in the forward and backward pass of a scalar."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        compute().backward()
    return counter.get_total_flops() / BATCH


def captions() -> Tokens:
    return Tokens(torch.randint(2, TEXT.vocabulary, (BATCH, TOKENS)), torch.full((BATCH,), TOKENS))


@pytest.mark.parametrize("config", [STAGE1, GROUPED, STAGE1.model_copy(update={"pool": "class"})], ids=["", "grouped", "class"])
@pytest.mark.parametrize("drop_tokens", [0.0, 0.5])
def test_the_flops_of_stage_1_are_those_that_torch_counts(config: ContrastiveConfig, drop_tokens: float) -> None:
    model, text = ContrastiveModel(config), captions()

    def compute() -> torch.Tensor:
        features = model(torch.randn(BATCH, 3, 32, 32), text.ids, text.lengths, drop_tokens)
        return features.image.sum() + features.text.sum()

    assert counted(compute) == pytest.approx(flops.contrastive_step(config, TOKENS, drop_tokens), rel=0.01)


def test_the_flops_of_stage_2_are_those_that_torch_counts() -> None:
    queries = GenerativeConfig(queries=4, cross_heads=2, pool_heads=2)
    model, text = GenerativeModel(ContrastiveModel(STAGE1), queries), captions()

    def compute() -> torch.Tensor:
        encoded = model(Pictures(torch.randn(BATCH, 3, 32, 32), text))
        outputs = model(Examples(encoded.picture, text, encoded.picture, text, 1))
        return outputs.image.sum() + outputs.match_logits.sum() + outputs.token_logits.sum()

    assert counted(compute) == pytest.approx(flops.generative_step(STAGE1, queries, TOKENS), rel=0.01)


@pytest.mark.parametrize("train", [["projector"], ["projector", "language"], ["projector", "language", "vision"]])
@pytest.mark.parametrize("downsample, visual", [(0.5, 4), (1.0, 16)])
def test_the_flops_of_stage_3_are_those_that_torch_counts(train: list[str], downsample: float, visual: int) -> None:
    sizes, tokens = LanguageConfig(vocabulary=420, width=32, depth=2, heads=2, mlp=64), visual + 8
    model = ChatLoss(build_internvl(InternViT(IMAGE), new_language_model(sizes, 64, 0, 1), 2, downsample))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_trained(name, train))
    ids = torch.randint(3, 400, (BATCH, tokens))
    ids[:, 1 : visual + 1] = 2
    labels = torch.where(torch.arange(tokens) < visual + 3, IGNORED, ids)
    tower = flops.Transformer(sizes.width, sizes.depth, sizes.mlp, gated=True)
    expected = flops.chat_step(IMAGE, tower, sizes.vocabulary, tokens, 5, visual, train)
    assert counted(lambda: model(ids, labels, torch.randn(BATCH, 3, 32, 32))) == pytest.approx(expected, rel=0.01)


def test_a_stage_knows_its_flops_after_a_batch(tmp_path: Path, one_process: torch.device) -> None:  # noqa: F811
    write_start(tmp_path)
    stages = {name: stage_of(name, tmp_path) for name in ("softmax", "generative", "chat")}
    found = {}
    for name, stage in stages.items():
        for parts in stage.losses(stage.model, global_batch(), 8, one_process):
            sum(parts.values()).backward()
        found[name] = stage.flops()
    contrastive = stages["softmax"]
    assert found["softmax"] == flops.contrastive_step(contrastive.model.config, contrastive.row_tokens)
    assert all(value > 0 for value in found.values())
    contrastive.begin(Phase(0, 1, 0, 8, 8, image_size=32, drop_tokens=0.5))
    assert contrastive.flops() > found["softmax"]


def test_a_cpu_has_no_peak() -> None:
    assert flops.peak_flops(torch.device("cpu")) is None
