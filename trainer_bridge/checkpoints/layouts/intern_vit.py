"""InternViT as OpenGVLab releases it for Hugging Face (InternViT-6B-224px, InternViT-300M-448px): an image tower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer_bridge.checkpoints.checkpoint import Checkpoint, expected_side
from trainer_bridge.checkpoints.layouts.layout import CONFIG, WEIGHTS, Layout, known, read_config, validated, write_config
from trainer_bridge.checkpoints.weights import Place, module_place, read_renamed, write_renamed
from trainer_bridge.data.transforms import MEAN, STD
from trainer_bridge.models.internvit import InternViTConfig

MODEL_TYPE, TOWER = "intern_vit_6b", "image_tower."
BLOCKS = "encoder.layers"
MODULES = {
    "patches": "embeddings.patch_embedding",
    "class_token": "embeddings.class_embedding",
    "positions": "embeddings.position_embedding",
    "attention_norm": "norm1",
    "attention.qkv": "attn.qkv",
    "attention.q_norm": "attn.q_norm",
    "attention.k_norm": "attn.k_norm",
    "attention.out": "attn.proj",
    "attention_scale": "ls1",
    "mlp_norm": "norm2",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
    "mlp_scale": "ls2",
}
NORMS = {"rms_norm": "rms", "layer_norm": "layer"}


def read_image_config(config: dict[str, Any], where: Path) -> InternViTConfig:
    """Our configuration of a released InternVisionConfig; what it leaves out is as InternViT-6B has it."""
    norm = config.get("norm_type", "rms_norm")
    return validated(  # type: ignore[no-any-return]
        InternViTConfig,
        {
            "image_size": known(config, "image_size", where),
            "patch": known(config, "patch_size", where),
            "width": known(config, "hidden_size", where),
            "depth": known(config, "num_hidden_layers", where),
            "heads": known(config, "num_attention_heads", where),
            "mlp": known(config, "intermediate_size", where),
            "drop_path": config.get("drop_path_rate", 0.0),
            "layer_scale": config.get("initializer_factor", 0.1),
            "norm": NORMS.get(norm, norm),
            "norm_eps": config.get("layer_norm_eps", 1e-6),
            "qkv_bias": config.get("qkv_bias", False),
            "qk_norm": config.get("qk_normalization", True),
            "activation": config.get("hidden_act", "gelu"),
        },
        where,
    )


def write_image_config(config: InternViTConfig) -> dict[str, Any]:
    """The InternVisionConfig of our configuration; ValueError when the released code has no such tower."""
    if config.pre_norm:
        raise ValueError("an image tower with a norm before its first block (pre_norm) is no InternViT; write it as open_clip")
    return {
        "architectures": ["InternVisionModel"],
        "model_type": MODEL_TYPE,
        "attention_dropout": 0.0,
        "drop_path_rate": config.drop_path,
        "dropout": 0.0,
        "hidden_act": config.activation,
        "hidden_size": config.width,
        "image_size": config.image_size,
        "initializer_factor": config.layer_scale,
        "initializer_range": 0.02,
        "intermediate_size": config.mlp,
        "layer_norm_eps": config.norm_eps,
        "norm_type": next(theirs for theirs, ours in NORMS.items() if ours == config.norm),
        "num_attention_heads": config.heads,
        "num_channels": 3,
        "num_hidden_layers": config.depth,
        "patch_size": config.patch,
        "qk_normalization": config.qk_norm,
        "qkv_bias": config.qkv_bias,
        "torch_dtype": "float32",
        "use_flash_attn": True,
    }


def image_places(names: Any, prefix: str = "") -> dict[str, Place]:
    """The places of our image tower's tensors of these names; theirs begin with `prefix`."""
    return {
        name: Place(prefix + module_place(name.removeprefix(TOWER), MODULES, BLOCKS).name)
        for name in names
        if name.startswith(TOWER)
    }


def write_preparation(folder: Path, side: int) -> None:
    """The preprocessor_config.json of a released folder: what transformers' CLIPImageProcessor makes of a picture."""
    resized = {"size": side, "crop_size": side, "do_resize": True, "do_center_crop": True, "resample": 3}
    normal = {"do_normalize": True, "image_mean": list(MEAN), "image_std": list(STD)}
    write_config(folder, {"feature_extractor_type": "CLIPFeatureExtractor", **resized, **normal}, "preprocessor_config.json")


def _recognises(path: Path) -> bool:
    return read_config(path).get("model_type") == MODEL_TYPE


def _read(folder: Path) -> Checkpoint:
    settings = {"image": read_image_config(read_config(folder), folder / CONFIG)}
    expected = expected_side(settings, [TOWER])
    return Checkpoint(settings, read_renamed(folder, image_places(expected), expected))


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    if "image" not in checkpoint.settings:
        raise ValueError("there is no image tower to write")
    image = checkpoint.settings["image"]
    write_config(folder, write_image_config(image))
    write_renamed(folder / WEIGHTS, image_places(checkpoint.state), checkpoint.state)
    write_preparation(folder, image.image_size)


LAYOUT = Layout(_recognises, _read, _write)
