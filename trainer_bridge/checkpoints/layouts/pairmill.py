"""Ours: config.json, model.safetensors, tokenizer.json; a model of stage 1 or 2, or one of its towers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from infra.compat.settings import Section
from trainer_bridge.checkpoints.checkpoint import IMAGE, SMALLEST, Checkpoint, expected_side, expected_state
from trainer_bridge.checkpoints.layouts.layout import (
    CONFIG,
    TOKENIZER,
    WEIGHTS,
    Layout,
    read_config,
    validated,
    write_config,
)
from trainer_bridge.checkpoints.weights import check_tensors, read_tensors, save_tensors
from trainer_bridge.data.tokenizer import load_tokenizer
from trainer_bridge.models.contrastive import ContrastiveConfig
from trainer_bridge.models.internvit import InternViTConfig
from trainer_bridge.models.qllama import GenerativeConfig
from trainer_bridge.models.text_tower import TextConfig

STAGE1 = "stage1."


class GenerativeFolder(Section):
    """The config.json of a stage-2 model."""

    stage1: ContrastiveConfig
    generative: GenerativeConfig


class ImageFolder(Section):
    """The config.json of an image tower."""

    image: InternViTConfig


class TextFolder(Section):
    """The config.json of a text tower."""

    text: TextConfig


def _recognises(path: Path) -> bool:
    config = read_config(path)
    return bool(config.keys() & {"image", "text", "stage1"}) and "model_type" not in config


def _read(folder: Path) -> Checkpoint:
    for name in (WEIGHTS, *([TOKENIZER] if read_config(folder).keys() & {"text", "stage1"} else [])):
        if not (folder / name).exists():
            raise ValueError(f"{folder} holds no {name}; name a folder that trainer_bridge.train or .convert wrote")
    settings, generative, expected = _described(folder)
    tensors = read_tensors(folder)
    check_tensors(folder, tensors, expected)
    added = {} if generative is None else {name: value for name, value in tensors.items() if not name.startswith(STAGE1)}
    state = {name.removeprefix(STAGE1): value for name, value in tensors.items() if name not in added}
    tokenizer = load_tokenizer(folder / TOKENIZER, settings["text"]) if "text" in settings else None
    return Checkpoint(settings, state, tokenizer, generative, added)


def _described(folder: Path) -> tuple[dict[str, Any], GenerativeConfig | None, dict[str, Tensor]]:
    """(settings, those of stage 2, tensors without data by name) that the folder's config.json describes."""
    values, where = read_config(folder), folder / CONFIG
    if "stage1" in values:
        both = validated(GenerativeFolder, values, where)
        return dict(both.stage1), both.generative, expected_state(both.stage1, both.generative)
    if values.keys() == {"image"}:
        image = dict(validated(ImageFolder, values, where))
        return image, None, expected_side(image, ["image_tower."])
    if values.keys() == {"text"}:
        text = dict(validated(TextFolder, values, where))
        return text, None, expected_side(text, ["text_tower.", "text_head."])
    config = validated(ContrastiveConfig, SMALLEST | values if "image" in values else values, where)
    if "text" in values:
        return dict(config), None, expected_state(config)
    side = {name: getattr(config, name) for name in IMAGE if name in values}
    return side, None, expected_side(side, ["image_"])


def write(checkpoint: Checkpoint, folder: Path) -> None:
    """Writes whatever the checkpoint holds, its weights as float32."""
    settings = {name: value.model_dump() if isinstance(value, Section) else value for name, value in checkpoint.settings.items()}
    tensors = checkpoint.state
    if checkpoint.generative is not None:
        settings = {"stage1": settings, "generative": checkpoint.generative.model_dump()}
        tensors = {STAGE1 + name: tensor for name, tensor in tensors.items()} | checkpoint.added
    write_config(folder, settings)
    save_tensors(folder / WEIGHTS, tensors.items())
    if checkpoint.tokenizer is not None:
        checkpoint.tokenizer.save(str(folder / TOKENIZER))


LAYOUT = Layout(_recognises, _read, write)
