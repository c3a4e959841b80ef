"""open_clip's vision transformers: the same features on the same pixels, there and back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.towers import open_clip_model, pixels, step
from trainer_bridge.checkpoints.checkpoint import Checkpoint
from trainer_bridge.checkpoints.layouts import find_layouts, read_checkpoint
from trainer_bridge.checkpoints.layouts.open_clip import CLIP_MEAN, CLIP_STD
from trainer_bridge.checkpoints.starts import ContrastiveSettings, start_contrastive
from trainer_bridge.data.transforms import normalise
from trainer_bridge.models.contrastive import ContrastiveModel

TEXT = {"vocabulary": 300, "width": 16, "depth": 1, "heads": 2, "mlp": 32}
VARIANTS: dict[str, dict[str, Any]] = {
    "gelu": {},
    "quick_gelu": {"quick_gelu": True},
    "scaled": {"ls_init_value": 0.1},
    "no_ln_pre": {"no_ln_pre": True},
}


def their_features(model: Any, images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    features: Tensor = F.normalize(model.encode_image((images / 255 - mean) / std), dim=1)
    return features


def started(folder: Path) -> ContrastiveModel:
    settings = ContrastiveSettings.model_validate({"text": TEXT, "image_checkpoint": str(folder)})
    return start_contrastive(settings, None)[0].filled().eval()


@pytest.mark.parametrize("variant", VARIANTS)
def test_convert_train_export_reload_gives_the_same_features(variant: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs, images = open_clip_model(tmp_path / "clip", **VARIANTS[variant]), pixels()
    ours = started(tmp_path / "clip")
    assert ours.config.pool == "class" and ours.config.embedding == 12
    assert torch.allclose(ours.encode_image(normalise(images)), their_features(theirs, images), atol=1e-4)
    step(ours, ours.encode_image(normalise(images))[:, :6].sum())
    write = find_layouts()["open_clip"].write
    assert write is not None
    write(Checkpoint(dict(ours.config), ours.state_dict()), tmp_path / "out")
    features = ours.encode_image(normalise(images))
    assert not torch.allclose(features, their_features(theirs, images), atol=1e-3)
    assert torch.allclose(started(tmp_path / "out").encode_image(normalise(images)), features, atol=1e-4)
    plain = {**VARIANTS[variant], "ls_init_value": None}
    fresh = open_clip_model(tmp_path / "fresh", **plain)
    state = read_visual(tmp_path / "out")
    fresh.visual.load_state_dict(state)
    assert torch.allclose(their_features(fresh, images), features, atol=1e-4)


def read_visual(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    state = load_file(folder / "open_clip_model.safetensors")
    return {name.removeprefix("visual."): tensor for name, tensor in state.items()}


def test_the_preparation_of_its_folder_counts(tmp_path: Path) -> None:
    theirs, images = open_clip_model(tmp_path / "clip"), pixels()
    config = json.loads((tmp_path / "clip" / "open_clip_config.json").read_text())
    config["preprocess_cfg"] = {"mean": [0.5] * 3, "std": [0.25] * 3}
    (tmp_path / "clip" / "open_clip_config.json").write_text(json.dumps(config))
    expected = F.normalize(theirs.encode_image((images / 255 - 0.5) / 0.25), dim=1)
    assert torch.allclose(started(tmp_path / "clip").encode_image(normalise(images)), expected, atol=1e-4)


def test_another_kind_of_tower_is_named(tmp_path: Path) -> None:
    open_clip_model(tmp_path / "clip")
    path = tmp_path / "clip" / "open_clip_config.json"
    config = json.loads(path.read_text())
    for name, value in (("timm_model_name", "vit_base"), ("attentional_pool", True), ("pool_type", "avg")):
        changed = {**config["model_cfg"], "vision_cfg": {**config["model_cfg"]["vision_cfg"], name: value}}
        path.write_text(json.dumps({"model_cfg": changed}))
        with pytest.raises(ValueError, match=rf"vision_cfg\.{name} = .* is no plain vision transformer"):
            read_checkpoint(tmp_path / "clip")
