"""What the language model sees of a picture: patches, QLLaMA's queries, or both; trained, saved and loaded again."""

from pathlib import Path

import pytest
import torch

from infra.compat.torchvision_operators import define_missing_operators
from sharding import read_dataset
from tests.support.processes import one_process  # noqa: F401
from tests.support.stages import experiment_of, write_start
from tests.support.towers import generative_model, tokenizer
from trainer_bridge.checkpoints.building import fill
from trainer_bridge.checkpoints.hugging_face import load_internvl
from trainer_bridge.checkpoints.model_folders import save_generative
from trainer_bridge.data.batch import Batch
from trainer_bridge.stages.chat import ChatStage

define_missing_operators()
CPU = torch.device("cpu")
VARIANTS = {"patches": ["patches"], "queries": ["queries"], "both": ["patches", "queries"]}
TOKENS = {"patches": 4, "queries": 5, "both": 9}  # of a tile


@pytest.fixture(scope="module")
def stage2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards, and a stage-2 model."""
    folder = tmp_path_factory.mktemp("stage2")
    write_start(folder)
    torch.manual_seed(0)
    model = generative_model()
    save_generative(folder / "model", model, model.state_dict(), tokenizer("<s>"))
    return folder


def stage_of(folder: Path, start: Path, name: str = "chat", **model: object) -> ChatStage:
    torch.manual_seed(1)
    stage = ChatStage(experiment_of(name, model=model), read_dataset(str(folder)), start, folder)
    fill(stage.model, stage.tensors or {}, CPU)
    return stage


def batch(side: int = 32) -> Batch:
    pixels = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Batch(pixels, ["a red fox", "blue"], [b"{}"] * 2, [0, 1], [0, 1], [0, 1], torch.ones(2, dtype=torch.bool), [])


def loss(stage: ChatStage) -> torch.Tensor:
    return sum(part["answers"] for part in stage.losses(stage.model, batch(), 2, CPU))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_model_has_the_logits_of_the_trained_one_and_goes_on(
    variant: str,
    stage2: Path,
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    stage = stage_of(stage2, stage2 / "model", visual=VARIANTS[variant], train=["projector", "language"])
    assert stage.image_tokens == TOKENS[variant] and stage.chat.config.image_seq_length == TOKENS[variant]
    loss(stage).backward()
    torch.optim.AdamW([p for p in stage.model.parameters() if p.requires_grad], lr=1e-2).step()
    stage.model.eval()
    stage.save(tmp_path, stage.model.state_dict())
    again = load_internvl(tmp_path).eval()
    ids = torch.tensor([[7, *[stage.chat.config.image_token_id] * TOKENS[variant], 8, 9]])
    pixels = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        logits = [model(input_ids=ids, pixel_values=pixels).logits for model in (stage.chat, again)]
        other = again(input_ids=ids, pixel_values=-pixels).logits
        assert again.generate(input_ids=ids, pixel_values=pixels, max_new_tokens=3, min_new_tokens=3).shape == (
            1,
            ids.shape[1] + 3,
        )
    assert stage.flops() > 0
    assert torch.equal(*logits) and not torch.allclose(logits[0], other, atol=1e-4)
    with torch.no_grad():
        assert torch.allclose(loss(stage_of(stage2, tmp_path, "packed")), loss(stage), atol=1e-6)
    outlined = ChatStage.outline(experiment_of("chat"), tmp_path).model
    assert {name: p.shape for name, p in outlined.named_parameters()} == {n: p.shape for n, p in stage.model.named_parameters()}
    with pytest.raises(ValueError, match=r"has another model\.visual"):
        stage_of(stage2, tmp_path, visual=VARIANTS["patches" if variant != "patches" else "both"])


@pytest.mark.parametrize("train", [["projector"], ["projector", "queries"], ["language"], "everything"])
def test_a_step_changes_what_is_named(train: list[str] | str, stage2: Path, one_process) -> None:  # noqa: F811
    stage = stage_of(stage2, stage2 / "model", visual=VARIANTS["both"], train=train)
    before = {name: parameter.detach().clone() for name, parameter in stage.model.named_parameters()}
    loss(stage).backward()
    torch.optim.AdamW([p for p in stage.model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1).step()
    kinds = {"query_tower": "queries", "projector": "projector", "vision_tower": "vision", "": "language"}
    trained = ["projector", "language", "vision", "queries"] if train == "everything" else train
    for name, parameter in stage.model.named_parameters():
        kind = next(kind for part, kind in kinds.items() if part in name)
        assert torch.equal(before[name], parameter) != (kind in trained), name


def test_rates_fall_from_layer_to_layer(stage2: Path, one_process: torch.device) -> None:  # noqa: F811
    stage = stage_of(stage2, stage2 / "model", visual=VARIANTS["both"], train="everything")
    stage.experiment = experiment_of("chat", optimizer={"layer_decay": 0.5, "rates": {"query_projector": 3e-3}})
    rates = {id(p): group["lr"] / 1e-3 for group in stage.parameters() for p in group["params"]}
    found = {name: rates[id(parameter)] for name, parameter in stage.model.named_parameters()}
    assert found["chat.model.query_projector.1.weight"] == 3 and found["chat.model.multi_modal_projector.linear_1.weight"] == 1
    depth = stage.chat.config.vision_config.num_hidden_layers
    assert found["chat.model.vision_tower.encoder.layer.0.mlp.fc1.weight"] == 0.5**depth
    assert found["chat.model.vision_tower.embeddings.cls_token"] == 0.5 ** (depth + 1)
    assert found["chat.model.language_model.layers.0.mlp.up_proj.weight"] == 0.5
    assert found["chat.model.language_model.embed_tokens.weight"] == 0.25
    assert found["chat.model.query_tower.text_tower.layers.0.mlp.up_proj.weight"] == 0.125


def test_the_queries_are_those_of_stage_2(stage2: Path) -> None:
    torch.manual_seed(0)
    stage1_and_queries = generative_model()
    stage = stage_of(stage2, stage2 / "model", visual=VARIANTS["queries"])
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = stage1_and_queries.decode(stage1_and_queries.stage1.image_tower(images), None, None)
        found = stage.chat.model.query_tower(stage.chat.model.vision_tower(pixel_values=images).last_hidden_state)
    assert torch.allclose(found, expected, atol=1e-5)


def test_what_a_model_has_not_is_named(stage2: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.visual names queries, and .*softmax has none; start from a stage-2 model"):
        stage_of(stage2, stage2 / "softmax", visual=["queries"])
    with pytest.raises(ValueError, match=r"model\.train names 'queries', of which this model has none; leave it out"):
        stage_of(stage2, stage2 / "softmax", train=["projector", "queries"])
