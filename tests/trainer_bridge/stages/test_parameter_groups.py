"""Which parameters decay, and at which rate each is trained."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.processes import one_process  # noqa: F401
from tests.support.stages import stage_of, write_start
from trainer_bridge.models.internvit import InternViT, InternViTConfig
from trainer_bridge.stages.parameter_groups import block_lists, decays, layers_above, parameter_groups
from trainer_bridge.stages.settings import OneRate


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    write_start(folder)
    return folder


def groups_of(name: str, start: Path, **optimizer: Any) -> dict[str, tuple[float, float]]:
    """The learning rate and the weight decay of each trained parameter."""
    chat = {"model": {"train": "everything"}} if name == "chat" else {}
    stage = stage_of(name, start, optimizer={"weight_decay": 0.1} | optimizer, **chat)
    names = {id(parameter): name for name, parameter in stage.model.named_parameters()}
    groups = [(names[id(p)], (group["lr"], group["weight_decay"])) for group in stage.parameters() for p in group["params"]]
    assert len(groups) == len({name for name, _ in groups}) == sum(p.requires_grad for p in stage.model.parameters())
    return dict(groups)


@pytest.mark.parametrize("name", ["softmax", "sigmoid", "generative", "chat"])
def test_only_matrices_and_kernels_decay(name: str, start: Path, one_process: torch.device) -> None:  # noqa: F811
    kept = {parameter.rpartition(".")[2] for parameter, (_, decay) in groups_of(name, start).items() if decay == 0}
    decayed = {parameter for parameter, (_, decay) in groups_of(name, start).items() if decay == 0.1}
    expected = {
        "softmax": {"positions", "class_token", "logit_scale", "attention_scale", "mlp_scale"},
        "generative": {"queries", "logit_scale"},
        "chat": {"position_embeddings", "cls_token", "lambda_1", "lambda_2"},
    }
    expected["sigmoid"] = expected["softmax"] | {"logit_bias"}
    assert kept == expected[name] | {"bias", "weight"}  # the weights of norms
    assert all(parameter.endswith("weight") and "norm" not in parameter for parameter in decayed)


def test_what_is_a_vector_under_zero_3_is_told_by_its_whole_shape() -> None:
    piece = nn.Parameter(torch.zeros(3))
    assert not decays("mlp.weight", piece)
    piece.ds_shape = torch.Size([2, 3])
    assert decays("mlp.weight", piece)


def test_rates_fall_layer_by_layer_to_the_embeddings(start: Path, one_process: torch.device) -> None:  # noqa: F811
    rates = {name: rate for name, (rate, _) in groups_of("softmax", start, layer_decay=0.5, image_lr=1.0, text_lr=0.1).items()}
    expected = {  # two blocks in each tower
        "image_pool.out.weight": 1.0,
        "image_tower.blocks.1.mlp.0.weight": 0.5,
        "image_tower.blocks.0.mlp.0.bias": 0.25,
        "image_tower.patches.weight": 0.125,
        "image_tower.positions": 0.125,
        "image_tower.class_token": 0.125,
        "text_projection.weight": 0.1,
        "logit_scale": 0.1,
        "text_tower.norm.weight": 0.1,
        "text_tower.layers.1.input_layernorm.weight": 0.05,
        "text_tower.layers.0.mlp.up_proj.weight": 0.025,
        "text_tower.embed_tokens.weight": 0.0125,
    }
    assert {name: rates[name] for name in expected} == pytest.approx(expected)


def test_rates_fall_in_the_towers_of_transformers_and_in_a_tower_alone(start: Path, one_process: torch.device) -> None:  # noqa: F811
    rates = {name.split(".", 2)[2]: rate for name, (rate, _) in groups_of("chat", start, layer_decay=0.5, lr=1.0).items()}
    expected = {
        "multi_modal_projector.linear_1.weight": 1.0,
        "language_model.layers.0.self_attn.q_proj.weight": 0.5,
        "language_model.embed_tokens.weight": 0.25,
        "vision_tower.encoder.layer.1.mlp.fc1.weight": 0.5,
        "vision_tower.encoder.layer.0.mlp.fc1.weight": 0.25,
        "vision_tower.embeddings.position_embeddings": 0.125,
    }
    assert {name: rates[name] for name in expected} == pytest.approx(expected)
    lists = block_lists(InternViT(InternViTConfig(image_size=8, patch=4, width=8, depth=3, heads=2, mlp=8)))
    assert [layers_above(name, lists) for name in ("positions", "blocks.0.mlp.0.weight", "blocks.2.mlp_scale")] == [4, 3, 1]


def test_a_part_has_a_rate_of_its_own(start: Path, one_process: torch.device) -> None:  # noqa: F811
    groups = groups_of("softmax", start, rates={"image_pool": 0.5, "embed_tokens": 0.25}, image_lr=0.1, text_lr=0.2)
    for name, (rate, _) in groups.items():
        own = 0.5 if name.startswith("image_pool") else 0.25 if "embed_tokens" in name else 0.1 if "image" in name else 0.2
        assert rate == own, name


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("softmax", {"rates": {"image_pol": 1e-3}}, r"optimizer\.rates\.image_pol is no part .* did you mean 'image_pool'\?"),
        ("generative", {"rates": {"stage1": 1e-3}}, r"optimizer\.rates\.stage1 is no part of the model that is trained"),
        ("generative", {"layer_decay": 0.9}, r"layer_decay is set, but this stage trains no blocks"),
    ],
)
def test_a_rate_of_what_is_not_trained_is_refused(
    name: str,
    settings: dict[str, Any],
    message: str,
    start: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        groups_of(name, start, **settings)
    assert "\n" not in str(caught.value)


def test_a_model_of_ones_own_needs_no_tower() -> None:
    optimizer = OneRate(lr=0.5, warmup=0, steps=1)
    weight, bias = parameter_groups(nn.Linear(2, 3), {"": optimizer.lr}, optimizer)
    assert [group["weight_decay"] for group in (weight, bias)] == [0.1, 0.0] and weight["lr"] == bias["lr"] == 0.5
