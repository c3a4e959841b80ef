"""open_clip's own vision transformers (open_clip_config.json, open_clip_model.safetensors): an image tower with its projection.

Its pictures have another mean and deviation than ours: the convolution of the patches is linear and has no padding, so its
weights and a bias take the difference up exactly. Its branches have no scale: scales of one are the same at the start. Written
back, scales go into the weights before them, and what training made of the bias goes into the positions of the patches.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer_bridge.checkpoints.checkpoint import Checkpoint, expected_side
from trainer_bridge.checkpoints.layouts.layout import Layout, known, read_config, validated, write_config
from trainer_bridge.checkpoints.weights import Place, module_place, read_renamed, write_renamed
from trainer_bridge.data.transforms import MEAN, STD
from trainer_bridge.models.contrastive import ContrastiveConfig
from trainer_bridge.models.internvit import InternViTConfig

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's
TOWER, SIDE, BLOCKS = "image_tower.", ("image_tower.", "image_pool."), "visual.transformer.resblocks"
KERNEL, BIAS, POSITIONS = (TOWER + name for name in ("patches.weight", "patches.bias", "positions"))
MODULES = {
    "patches": "visual.conv1",
    "class_token": "visual.class_embedding",
    "positions": "visual.positional_embedding",
    "pre_norm": "visual.ln_pre",
    "attention_norm": "ln_1",
    "attention.qkv": "attn.in_proj_",
    "attention.out": "attn.out_proj",
    "attention_scale": "ls_1.gamma",
    "mlp_norm": "ln_2",
    "mlp.0": "mlp.c_fc",
    "mlp.2": "mlp.c_proj",
    "mlp_scale": "ls_2.gamma",
}
HEAD = {
    "image_pool.norm.weight": Place("visual.ln_post.weight"),
    "image_pool.norm.bias": Place("visual.ln_post.bias"),
    "image_pool.out.weight": Place("visual.proj", transposed=True),
}
READ = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio", "ls_init_value", "no_ln_pre"}
INERT = {"patch_dropout": None, "pool_type": "tok", "output_tokens": None, "timm_model_name": ""}  # None: whatever it is


def _places(names: Iterable[str]) -> dict[str, Place]:
    return {
        name: HEAD.get(name)
        or Place(module_place(name.removeprefix(TOWER), MODULES, BLOCKS).name, squeezed=not name.endswith(("weight", "bias")))
        for name in names
    }


def _recognises(path: Path) -> bool:
    return "model_cfg" in read_config(path, CONFIG)


def _read(folder: Path) -> Checkpoint:
    values, where = read_config(folder, CONFIG), folder / CONFIG
    settings, has_scales = _settings(values["model_cfg"], where)
    expected = expected_side(settings, SIDE)
    scales = [] if has_scales else [name for name in expected if name.endswith("_scale")]
    places = _places(name for name in expected if name not in (BIAS, *scales))
    state = read_renamed(folder, places, expected, lambda name: not name.startswith("visual."))
    state |= {name: torch.ones(expected[name].shape) for name in scales}
    preparation = values.get("preprocess_cfg", {})
    mean, std = preparation.get("mean", CLIP_MEAN), preparation.get("std", CLIP_STD)
    state[KERNEL], state[BIAS] = _prepared_as_ours(state[KERNEL], mean, std)
    return Checkpoint(settings, state)


def _settings(model: dict[str, Any], where: Path) -> tuple[dict[str, Any], bool]:
    """(settings of the image side, whether the file has scales on branches); ValueError for a tower of another kind."""
    vision = known(model, "vision_cfg", where)
    for name, value in vision.items():
        if name not in READ and not (name in INERT and INERT[name] in (None, value)):
            raise ValueError(f"{where}: vision_cfg.{name} = {value!r} is no plain vision transformer; only these are converted")
    width = known(vision, "width", where)
    scale = vision.get("ls_init_value")
    image = {
        "image_size": known(vision, "image_size", where),
        "patch": known(vision, "patch_size", where),
        "width": width,
        "depth": known(vision, "layers", where),
        "heads": width // vision.get("head_width", 64),
        "mlp": int(width * vision.get("mlp_ratio", 4.0)),
        "layer_scale": 1.0 if scale is None else scale,
        "norm": "layer",
        "norm_eps": 1e-5,
        "qkv_bias": True,
        "qk_norm": False,
        "pre_norm": not vision.get("no_ln_pre", False),
        "activation": "quick_gelu" if model.get("quick_gelu") else "gelu",
    }
    embedding = known(model, "embed_dim", where)
    config = validated(ContrastiveConfig, {"image": image, "text": {}, "embedding": embedding, "pool": "class"}, where)
    return {"image": config.image, "embedding": config.embedding, "pool": config.pool}, scale is not None


def _channels(values: Iterable[float]) -> Tensor:
    return torch.tensor(tuple(values), dtype=torch.float64).view(1, 3, 1, 1)


def _prepared_as_ours(kernel: Tensor, mean: Iterable[float], std: Iterable[float]) -> tuple[Tensor, Tensor]:
    """(kernel, bias) that read pictures normalised as ours, of a kernel that reads them normalised by `mean` and `std`."""
    exact, deviation = kernel.double(), _channels(std)
    bias = (exact * (_channels(MEAN) - _channels(mean)) / deviation).sum(dim=(1, 2, 3))
    return (exact * _channels(STD) / deviation).float(), bias.float()


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    """The image tower and its projection; open_clip has no text tower that reads a feature at [EOS] of a LLaMA."""
    _require_vit(checkpoint)
    settings = checkpoint.settings
    state = {name: tensor.float() for name, tensor in checkpoint.state.items() if name.startswith(SIDE)}
    kernel = (state[KERNEL].double() * _channels(CLIP_STD) / _channels(STD)).float()
    bias = (state.pop(BIAS).double() - _prepared_as_ours(kernel, CLIP_MEAN, CLIP_STD)[1].double()).float()
    state |= {KERNEL: kernel, POSITIONS: torch.cat([state[POSITIONS][:, :1], state[POSITIONS][:, 1:] + bias], dim=1)}
    for name in [name for name in state if name.endswith("_scale")]:
        scale = state.pop(name)
        for layer in ("weight", "bias"):
            scaled = name.replace("attention_scale", "attention.out.").replace("mlp_scale", "mlp.2.") + layer
            state[scaled] = state[scaled] * scale.view(-1, *[1] * (state[scaled].ndim - 1))
    write_config(folder, _open_clip_config(settings["image"], settings["embedding"]), CONFIG)
    write_renamed(folder / WEIGHTS, _places(state), state)


def _require_vit(checkpoint: Checkpoint) -> None:
    """ValueError that names the setting which open_clip's vision transformers do not have."""
    settings = checkpoint.settings
    if "image" not in settings or settings.get("pool") is None:
        raise ValueError("there is no image tower with a projection to write as open_clip")
    image: InternViTConfig = settings["image"]
    fixed = {"norm": "layer", "norm_eps": 1e-5, "qkv_bias": True, "qk_norm": False}
    faults = [f"image.{name} = {getattr(image, name)}" for name, value in fixed.items() if getattr(image, name) != value]
    faults += [] if settings["pool"] == "class" else [f"pool = {settings['pool']}"]
    if faults:
        raise ValueError(f"open_clip's vision transformers have no {', '.join(faults)}; write the image tower as intern_vit")


def _open_clip_config(image: InternViTConfig, embedding: int) -> dict[str, Any]:
    vision: dict[str, Any] = {
        "image_size": image.image_size,
        "layers": image.depth,
        "width": image.width,
        "patch_size": image.patch,
        "head_width": image.width // image.heads,
        "mlp_ratio": image.mlp / image.width,
        **({} if image.pre_norm else {"no_ln_pre": True}),
    }
    model = {"embed_dim": embedding, "quick_gelu": image.activation == "quick_gelu", "vision_cfg": vision, "text_cfg": {}}
    return {"model_cfg": model, "preprocess_cfg": {"mean": CLIP_MEAN, "std": CLIP_STD}}


LAYOUT = Layout(_recognises, _read, _write)
