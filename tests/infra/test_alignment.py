"""The small models' configurations say what their weights are."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from infra.models import INTERNVL
from infra.train_models.alignment import halve
from trainer_bridge.checkpoints.weights import stored_type


def named(folder: Path) -> set[str]:
    """The types that a configuration and its parts name."""
    config = json.loads((folder / "config.json").read_text())
    return {part["dtype"] for part in (config, *config.values()) if isinstance(part, dict) and "dtype" in part}


def test_the_small_internvl_names_the_type_of_its_weights() -> None:
    assert named(INTERNVL) == {stored_type(INTERNVL)}


@pytest.mark.parametrize(("trained", "halved"), [(torch.float32, "float16"), (torch.bfloat16, "bfloat16")])
def test_a_halved_model_names_the_type_of_its_weights(tmp_path: Path, trained: torch.dtype, halved: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    save_file({"weight": torch.ones(3, dtype=trained)}, source / "model.safetensors")
    (source / "config.json").write_text(json.dumps({"dtype": "float32", "text_config": {"dtype": "float32"}, "size": 3}))
    halve(source, target)
    assert named(target) == {halved} == {stored_type(target)}
