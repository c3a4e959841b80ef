"""Models of stages 1 and 2: saved in folders of ours, loaded from any layout that holds one."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from trainer_bridge.checkpoints.building import Start
from trainer_bridge.checkpoints.checkpoint import Checkpoint
from trainer_bridge.checkpoints.layouts import read_checkpoint
from trainer_bridge.checkpoints.layouts.pairmill import STAGE1, write
from trainer_bridge.models.contrastive import ContrastiveConfig, ContrastiveModel
from trainer_bridge.models.internvit import InternViT
from trainer_bridge.models.qllama import GenerativeConfig, GenerativeModel

META = torch.device("meta")


def save_contrastive(folder: Path, config: ContrastiveConfig, state: dict[str, Tensor], tokenizer: Tokenizer) -> None:
    """Writes a stage-1 model, its weights as float32."""
    settings = {name: getattr(config, name) for name in ContrastiveConfig.model_fields}
    write(Checkpoint(settings, state, tokenizer), folder)


def save_generative(folder: Path, model: GenerativeModel, state: dict[str, Tensor], tokenizer: Tokenizer) -> None:
    """Writes a stage-2 model, the frozen stage 1 included, its weights as float32."""
    stage1 = {name.removeprefix(STAGE1): tensor for name, tensor in state.items() if name.startswith(STAGE1)}
    added = {name: tensor for name, tensor in state.items() if not name.startswith(STAGE1)}
    write(Checkpoint(dict(model.stage1.config), stage1, tokenizer, model.config, added), folder)


def load_contrastive(folder: Path) -> tuple[ContrastiveModel, Tokenizer]:
    """The stage-1 model and tokenizer in `folder`, those inside a stage-2 model too; ValueError in one line."""
    checkpoint = read_checkpoint(folder)
    tokenizer = require_whole(checkpoint, folder)
    return contrastive_start(ContrastiveConfig(**checkpoint.settings), checkpoint.state).filled(), tokenizer


def load_generative(folder: Path) -> tuple[GenerativeModel, Tokenizer]:
    """The stage-2 model and tokenizer in `folder`; ValueError in one line when a file is missing or does not fit."""
    checkpoint = read_checkpoint(folder)
    if checkpoint.generative is None:
        raise ValueError(f"{folder} holds no stage-2 model; name a folder that the generative stage wrote")
    tokenizer = require_whole(checkpoint, folder)
    return generative_start(checkpoint, checkpoint.generative).filled(), tokenizer


def load_image_tower(folder: Path) -> InternViT:
    """The image tower in `folder`, whatever else it holds; ValueError in one line when there is none."""
    return image_tower_start(folder).filled()


def image_tower_start(folder: Path) -> Start[InternViT]:
    """The same, not yet filled."""
    checkpoint = read_checkpoint(folder)
    if "image" not in checkpoint.settings:
        raise ValueError(f"{folder} holds no image tower; name a stage-1 model, or an InternViT")
    prefix = "image_tower."
    state = {name.removeprefix(prefix): value for name, value in checkpoint.state.items() if name.startswith(prefix)}
    with META:
        return Start(InternViT(checkpoint.settings["image"]), state)


def contrastive_start(config: ContrastiveConfig, state: dict[str, Tensor]) -> Start[ContrastiveModel]:
    """A stage-1 model of these settings, and the tensors that are known of it."""
    with META:
        return Start(ContrastiveModel(config), dict(state))


def generative_start(checkpoint: Checkpoint, config: GenerativeConfig) -> Start[GenerativeModel]:
    """A stage-2 model around a stage-1 model, with the tensors of both that are known."""
    state = {STAGE1 + name: tensor for name, tensor in checkpoint.state.items()}
    state |= {"logit_scale": checkpoint.state["logit_scale"]} | checkpoint.added
    with META:
        return Start(GenerativeModel(ContrastiveModel(ContrastiveConfig(**checkpoint.settings)), config), state)


def require_whole(checkpoint: Checkpoint, folder: Path) -> Tokenizer:
    """The tokenizer of a stage-1 or stage-2 model; ValueError in one line when `folder` holds only a part of one."""
    if not checkpoint.is_whole or checkpoint.tokenizer is None:
        raise ValueError(
            f"{folder} holds only a part of a stage-1 model ({', '.join(checkpoint.settings)}); start stage 1 from it with "
            "model.image_checkpoint or model.text_checkpoint"
        )
    return checkpoint.tokenizer
