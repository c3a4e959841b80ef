"""InternViT: the released names, and the same tokens as transformers' and after a round trip."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from infra.compat.torchvision_operators import define_missing_operators
from tests.support.towers import SIX_B, SMALL, shake, step
from trainer_bridge.checkpoints.checkpoint import Checkpoint
from trainer_bridge.checkpoints.layouts import find_layouts, read_checkpoint
from trainer_bridge.models.internvit import InternViT, InternViTConfig
from trainer_bridge.models.internvl import vision_config, vision_state

KINDS = pytest.mark.parametrize("config", [SIX_B, SMALL], ids=["6B", "300M"])
BLOCK = {"norm1.weight", "norm2.weight", "ls1", "ls2", "attn.qkv.weight", "attn.proj.weight", "attn.proj.bias"}
BLOCK |= {"mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias"}
OWN = {
    "rms": {"attn.q_norm.weight", "attn.k_norm.weight"},
    "layer": {"norm1.bias", "norm2.bias", "attn.qkv.bias"},
}
EMBEDDINGS = {"class_embedding", "position_embedding", "patch_embedding.weight", "patch_embedding.bias"}


def tower(config: InternViTConfig) -> InternViT:
    torch.manual_seed(0)
    model = shake(InternViT(config))
    assert isinstance(model, InternViT)
    return model


def written(model: InternViT, folder: Path) -> Path:
    state = {f"image_tower.{name}": tensor for name, tensor in model.state_dict().items()}
    write = find_layouts()["intern_vit"].write
    assert write is not None
    write(Checkpoint({"image": model.config}, state), folder)
    return folder


def loaded(folder: Path) -> InternViT:
    checkpoint = read_checkpoint(folder)
    model = InternViT(checkpoint.settings["image"])
    model.load_state_dict({name.removeprefix("image_tower."): tensor for name, tensor in checkpoint.state.items()})
    return model.eval()


@KINDS
def test_tokens_are_those_of_transformers_internvl(config: InternViTConfig) -> None:
    define_missing_operators()
    from transformers import InternVLVisionModel

    ours = tower(config)
    theirs = InternVLVisionModel(vision_config(config)).eval()
    theirs.load_state_dict(vision_state(ours.config, ours.state_dict()))
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(ours(images), theirs(images).last_hidden_state, atol=1e-4)


@KINDS
def test_a_written_tower_has_the_released_names_and_configuration(config: InternViTConfig, tmp_path: Path) -> None:
    folder = written(tower(config), tmp_path / "out")
    blocks = {f"encoder.layers.{i}.{name}" for i in range(2) for name in BLOCK | OWN[config.norm]}
    assert load_file(folder / "model.safetensors").keys() == blocks | {f"embeddings.{name}" for name in EMBEDDINGS}
    values = json.loads((folder / "config.json").read_text())
    assert values["model_type"] == "intern_vit_6b" and values["hidden_size"] == 24 and values["intermediate_size"] == 48
    assert values["norm_type"] == {"rms": "rms_norm", "layer": "layer_norm"}[config.norm]
    assert values["qkv_bias"] == config.qkv_bias and values["qk_normalization"] == config.qk_norm


@KINDS
def test_convert_train_export_reload_gives_the_same_tokens(config: InternViTConfig, tmp_path: Path) -> None:
    model, images = tower(config), torch.randn(2, 3, 32, 32)
    again = loaded(written(model, tmp_path / "first"))
    assert again.config == config and torch.equal(model(images), again(images))
    step(again, again(images).square().mean())
    assert not torch.allclose(model(images), again(images), atol=1e-3)
    assert torch.equal(again(images), loaded(written(again, tmp_path / "second"))(images))


def test_weights_in_several_files_are_read_by_their_index(tmp_path: Path) -> None:
    model, images = tower(SMALL), torch.randn(1, 3, 32, 32)
    folder = written(model, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    halves = [dict(list(tensors.items())[half::2]) for half in range(2)]
    names = [f"model-{half + 1:05d}-of-00002.safetensors" for half in range(2)]
    for name, half in zip(names, halves, strict=True):
        save_file(half, folder / name)
    index = {tensor: name for name, half in zip(names, halves, strict=True) for tensor in half}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert torch.equal(model(images), loaded(folder)(images))


def test_what_a_configuration_leaves_out_is_as_internvit_6b_has_it(tmp_path: Path) -> None:
    folder = written(tower(SIX_B), tmp_path)
    values = json.loads((folder / "config.json").read_text())
    for name in ("norm_type", "qkv_bias", "qk_normalization", "layer_norm_eps", "hidden_act", "drop_path_rate"):
        del values[name]
    (folder / "config.json").write_text(json.dumps(values))
    assert loaded(folder).config == SIX_B
