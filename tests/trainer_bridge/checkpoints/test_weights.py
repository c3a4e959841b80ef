"""Which files of a folder are read, and where tensors of ours lie in another layout."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trainer_bridge.checkpoints.weights import Place, module_place, read_tensors

HERE, OTHER = {"here": torch.ones(2, dtype=torch.bfloat16)}, {"other": torch.zeros(1)}


def test_a_second_copy_of_the_weights_is_not_read(tmp_path: Path) -> None:
    save_file(HERE, tmp_path / "model.safetensors")
    save_file(OTHER, tmp_path / "consolidated.safetensors")
    tensors = read_tensors(tmp_path)
    assert list(tensors) == ["here"] and tensors["here"].dtype == torch.bfloat16
    save_file(OTHER, tmp_path / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"other": "../model-00001-of-00001.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert list(read_tensors(tmp_path)) == ["other"]


@pytest.mark.parametrize(
    "files, message",
    [
        ([], r"holds no model\.safetensors"),
        (["a.bin"], r"as a pickle \(a\.bin\), which can run code and is never read; convert it to safetensors"),
        (["a.safetensors", "b.safetensors"], r"holds 2 safetensors files and no index"),
        (["model.safetensors.index.json"], r"is no index of safetensors files"),
        (["model.safetensors"], r"is no safetensors file that can be read"),
    ],
)
def test_a_folder_without_weights_is_one_line(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"[]")
    with pytest.raises(ValueError, match=message) as caught:
        read_tensors(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_shard_that_the_index_names_and_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    with pytest.raises(ValueError, match=r"gone\.safetensors is no safetensors file that can be read"):
        read_tensors(tmp_path)


@pytest.mark.parametrize(
    "name, place",
    [
        ("blocks.3.mlp.0.bias", "layers.3.mlp.fc1.bias"),
        ("blocks.12.scale", "layers.12.ls.gamma"),
        ("blocks.0.qkv.weight", "layers.0.in_proj_weight"),
        ("patches.weight", "conv1.weight"),
    ],
)
def test_a_tensor_lies_where_its_module_does(name: str, place: str) -> None:
    modules = {"mlp.0": "mlp.fc1", "scale": "ls.gamma", "qkv": "in_proj_", "patches": "conv1"}
    assert module_place(name, modules, "layers") == Place(place)
