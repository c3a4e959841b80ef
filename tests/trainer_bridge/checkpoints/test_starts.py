"""Stages start from towers of others, or from models that were trained before, and say in one line what does not agree."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests import ROOT
from tests.support.processes import one_process  # noqa: F401
from tests.support.towers import SIX_B, SMALL, generative_model, language_model, open_clip_model, shake, tokenizer
from tests.trainer_bridge.test_precision import run_stage
from tests.trainer_bridge.test_train import CONFIGS, shards  # noqa: F401
from trainer_bridge.checkpoints.checkpoint import Checkpoint
from trainer_bridge.checkpoints.layouts import find_layouts
from trainer_bridge.checkpoints.model_folders import load_contrastive, load_generative, load_image_tower, save_generative
from trainer_bridge.checkpoints.starts import ContrastiveSettings, start_contrastive, start_generative
from trainer_bridge.convert import convert
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.models.internvit import InternViT
from trainer_bridge.models.qllama import GenerativeConfig


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each layout that can be started from, and those that hold nothing for it."""
    folder = tmp_path_factory.mktemp("folders")
    torch.manual_seed(0)
    language_model(folder / "language_model", "qwen2")
    open_clip_model(folder / "open_clip")
    state = {f"image_tower.{name}": tensor for name, tensor in shake(InternViT(SMALL)).state_dict().items()}
    write = find_layouts()["intern_vit"].write
    assert write is not None
    write(Checkpoint({"image": SMALL}, state), folder / "intern_vit")
    model = generative_model()
    save_generative(folder / "pairmill", model, model.state_dict(), tokenizer("<s>"))
    convert(folder / "pairmill", "internvl", folder / "internvl")
    for name in ("intern_vit", "open_clip", "language_model"):
        convert(folder / name, "pairmill", folder / f"{name}_converted")
    return {path.name: path for path in folder.iterdir()}


PAIRS = {
    "intern_vit": "language_model",
    "intern_vit_converted": "language_model_converted",
    "open_clip": "internvl",
    "open_clip_converted": "pairmill",
    "internvl": "language_model",
    "pairmill": "language_model",
}


def started(folders: dict[str, Path], towers: tuple[str, str], **settings: Any) -> ContrastiveModel:
    checkpoints = {f"{side}_checkpoint": str(folders[name]) for side, name in zip(("image", "text"), towers, strict=True)}
    heads = {} if towers[0] in ("internvl", "pairmill") else {"pool_heads": 3}
    values = heads | {"embedding": 12} | checkpoints | settings
    begun, made = start_contrastive(ContrastiveSettings.model_validate(values), None)
    assert made is not None
    return begun.filled()


@pytest.mark.parametrize("image, text", PAIRS.items())
def test_any_image_tower_starts_with_any_text_tower(folders: dict[str, Path], image: str, text: str) -> None:
    model = started(folders, (image, text))
    tower = load_image_tower(folders[image])
    assert all(torch.equal(tensor, model.image_tower.state_dict()[name]) for name, tensor in tower.state_dict().items())
    again = started(folders, ("intern_vit", text))
    assert all(torch.equal(tensor, again.text_tower.state_dict()[name]) for name, tensor in model.text_tower.state_dict().items())
    features = model(torch.randn(2, 3, 32, 32), torch.ones(2, 3, dtype=torch.int64), torch.tensor([3, 2]))
    assert features[0].shape == features[1].shape == (2, 12)


def test_what_hangs_on_no_tensor_may_be_set(folders: dict[str, Path]) -> None:
    image = {"image_size": 48, "drop_path": 0.2}
    model = started(folders, ("intern_vit", "language_model"), image=image, text={"length": 30, "prefix": "summarize:"})
    assert model.config.image == SMALL.model_copy(update=image) and model.image_tower.positions.shape == (1, 37, 24)
    assert model.config.text.length == 30 and model.config.text.prefix == "summarize:" and model.config.text.width == 32
    tower = load_image_tower(folders["intern_vit"])
    images = torch.randn(1, 3, 48, 48)
    assert torch.allclose(model.eval().image_tower(images), tower.eval()(images), atol=1e-5)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"image": {"width": 25}}, r"image_checkpoint = .* has another model\.image\.width \(24, not 25\)"),
        ({"text": {"depth": 9}}, r"text_checkpoint = .* has another model\.text\.depth \(2, not 9\)"),
        ({"embedding": 13, "image_checkpoint": "open_clip"}, r"has another model\.embedding \(12, not 13\)"),
        ({"image_checkpoint": "language_model"}, r"holds no image tower"),
        ({"text_checkpoint": "intern_vit"}, r"holds no text tower"),
        ({"image_checkpoint": "nowhere"}, r"is not there; name a model's folder"),
        ({"image_checkpoint": ""}, r"no image tower; set \[model\.image\] or model\.image_checkpoint"),
        ({"text_checkpoint": ""}, r"no text tower; set \[model\.text\] or model\.text_checkpoint"),
    ],
)
def test_a_start_that_does_not_agree_is_one_line(folders: dict[str, Path], settings: dict[str, Any], message: str) -> None:
    values = {"image_checkpoint": "intern_vit", "text_checkpoint": "language_model"} | settings
    for name in ("image_checkpoint", "text_checkpoint"):
        values[name] = str(folders.get(values[name], values[name]))
    with pytest.raises(ValueError, match=message) as caught:
        start_contrastive(ContrastiveSettings.model_validate(values), None)
    assert "\n" not in str(caught.value)


def test_a_whole_model_starts_stage_1_with_nothing_but_its_name(folders: dict[str, Path]) -> None:
    for name in ("internvl", "pairmill"):
        begun, made = start_contrastive(ContrastiveSettings(), folders[name])
        model = begun.filled()
        loaded, _ = load_contrastive(folders[name])
        assert made is not None and model.config == loaded.config
        assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in loaded.state_dict().items())
    with pytest.raises(ValueError, match=r"only a part of a stage-1 model \(image\); start stage 1 from it with model\.image"):
        start_contrastive(ContrastiveSettings(), folders["intern_vit"])
    with pytest.raises(ValueError, match="names a whole model: unset"):
        start_contrastive(ContrastiveSettings(text_checkpoint="x"), folders["internvl"])


def test_stage_2_goes_on_from_a_stage_2_model(folders: dict[str, Path]) -> None:
    for name in ("internvl", "pairmill"):
        model = start_generative(GenerativeConfig(queries=5), folders[name])[0].filled()
        loaded, _ = load_generative(folders[name])
        assert model.config.cross_heads == 4  # as it has; only the queries were set
        assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in loaded.state_dict().items())
    with pytest.raises(ValueError, match=r"has another model\.queries \(5, not 7\)"):
        start_generative(GenerativeConfig(queries=7), folders["internvl"])


def test_stage_3_takes_the_image_tower_of_any_model(folders: dict[str, Path]) -> None:
    assert load_image_tower(folders["internvl"]).config == SIX_B
    with pytest.raises(ValueError, match="holds no image tower"):
        load_image_tower(folders["language_model"])


@pytest.mark.slow
def test_stages_1_2_and_3_train_from_towers_of_others(
    folders: dict[str, Path],
    shards: Path,  # noqa: F811
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    language_model(tmp_path / "qwen3", "qwen3", begin="<s>")  # with an output head of its own
    documents = {stage: tomllib.loads(text) for stage, text in CONFIGS.items()}
    for document in documents.values():
        document["optimizer"]["steps"] = 2
        document["run"] |= {"precision": "bf16", "zero": 3}
    checkpoints = {"image_checkpoint": str(folders["intern_vit"]), "text_checkpoint": str(tmp_path / "qwen3")}
    documents["contrastive"]["model"] = checkpoints | {"embedding": 12, "pool_heads": 4, "text": {"length": 20}}
    outs = {stage: tmp_path / stage for stage in documents}
    starts = {"contrastive": None, "generative": outs["contrastive"] / "model", "chat": folders["intern_vit"]}
    for stage, document in documents.items():
        summary = run_stage(stage, document, shards, outs[stage], starts[stage], one_process)
        assert summary["steps"] == 2
    before, after = load_contrastive(outs["contrastive"] / "model")[0], load_generative(outs["generative"] / "model")[0].stage1
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())
    (head,) = [tensor for name, tensor in load_file(tmp_path / "qwen3" / "model.safetensors").items() if name == "lm_head.weight"]
    assert torch.equal(head, before.text_head.weight)


def test_the_settings_in_the_readme_are_settings() -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    (block,) = [block for block in blocks if "image_checkpoint" in block]
    settings = ContrastiveSettings.model_validate(tomllib.loads(block)["model"])
    assert settings.text_checkpoint and settings.image.model_fields_set == {"image_size"}
