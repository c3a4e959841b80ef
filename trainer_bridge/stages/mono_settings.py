"""The settings of Mono-InternVL's stages."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from trainer_bridge.models.internvl import ConversationModelConfig
from trainer_bridge.models.mono import VISUAL, PictureConfig
from trainer_bridge.stages.chat_settings import ConversationExperiment

Part = Literal["pictures", "experts", "attention", "language"]
ATTENTION = re.compile(r"\.self_attn\.[qkvo]_proj\.")


class MonoConfig(ConversationModelConfig):
    """Which language model learns to see, and what of it is trained.

    train                pictures: patch embedding, positions and MLP; experts: the FFNs of image tokens; attention: its four
                         projections, not norms; language: all else of the language model
    picture              sizes of the patch embedding, and whether there are experts
    language_checkpoint  the language model to start from, where --from names no Mono-InternVL: a Hugging Face folder of
                         safetensors, or a .gguf file
    length               most tokens of a conversation, those of pictures included
    new_tokens           trains the embeddings of InternVL's nine tokens too, and no other row. Else they stay as they begin in
                         all stages that do not train the language model, <img> and </img> at random. Off in the paper
    drop_path            share of residual branches of the language model that are left out in training, rising from layer to
                         layer, by sequence. 0.1 in the paper, whose public code does nothing with it
    """

    train: tuple[Part, ...]
    picture: PictureConfig = PictureConfig()
    language_checkpoint: str = ""
    new_tokens: bool = False
    drop_path: float = Field(0.0, ge=0, lt=1)


class MonoExperiment(ConversationExperiment):
    """The settings of a stage of Mono-InternVL."""

    model: MonoConfig


def part_of(parameter: str) -> Part | None:
    """The part of a MonoModel that a parameter belongs to; None of the class token, which has no part in anything."""
    if parameter.startswith("pictures."):
        return None if parameter.endswith("class_token") else "pictures"
    if f".{VISUAL}." in parameter:
        return "experts"
    return "attention" if ATTENTION.search(parameter) else "language"
