"""What stage 3 starts from: an InternVL, or an image tower and a language model; and what of it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from infra.compat.torchvision_operators import define_missing_operators
from sharding.index import Dataset
from trainer_bridge.checkpoints.building import Start
from trainer_bridge.checkpoints.hugging_face import is_internvl, language_config, load_language_model, outline_internvl
from trainer_bridge.checkpoints.model_folders import META, image_tower_start
from trainer_bridge.data.chat_tokenizer import IMAGE, add_chat_tokens, new_tokenizer
from trainer_bridge.models.internvl import (
    ChatConfig,
    add_dropout,
    is_trained,
    join_internvl,
    joined_state,
    language_settings,
)
from trainer_bridge.stages.stage import first_captions, made_once


def require_start(start: Path | None) -> Path:
    """The folder that the stage starts from; ValueError when there is none."""
    if start is None:
        raise ValueError("the chat stage starts from a stage-1 model, an InternViT or an InternVL; name its folder with --from")
    return start


def prepare(chat: Any, config: ChatConfig) -> None:
    """Settles which parameters are trained, and adds dropout."""
    for name, parameter in chat.named_parameters():
        parameter.requires_grad_(is_trained(name, config.train))
    if config.dropout:
        add_dropout(chat.model.language_model, config.dropout)


def outlined(config: ChatConfig, start: Path) -> Any:
    """The model of an InternVL's folder, or as `joined`, without a tokenizer and without data."""
    if is_internvl(start):
        return outline_internvl(start)
    _require_one_language_model(config)
    sizes = image_tower_start(start).model.config
    language = (
        language_config(config.language_checkpoint)
        if config.language is None
        else language_settings(config.language, config.length, 0, 1)
    )
    with META:
        return join_internvl(sizes, language, 0, config.downsample)


def joined(config: ChatConfig, dataset: Dataset, start: Path, out: Path) -> tuple[Start[Any], Any]:
    """(model, tokenizer): the image tower of a model with a language model, and a new MLP between them."""
    vision = image_tower_start(start)
    tensors: dict[str, Tensor] = {}
    _require_one_language_model(config)
    if config.language is None:
        language, tokenizer = load_language_model(config.language_checkpoint)
        tokenizer = add_chat_tokens(tokenizer)
        language.resize_token_embeddings(max(len(tokenizer), language.config.vocab_size))
        settings, tensors = language.config, language.state_dict()
    else:
        vocabulary = config.language.vocabulary
        tokenizer = load_tokenizer(
            made_once(out / "tokenizer", lambda path: new_tokenizer(first_captions(dataset), vocabulary).save_pretrained(path))
        )
        settings = language_settings(config.language, config.length, tokenizer.pad_token_id, tokenizer.eos_token_id)
    sizes = vision.model.config
    with META:
        model = join_internvl(sizes, settings, tokenizer.convert_tokens_to_ids(IMAGE), config.downsample)
    return Start(model, joined_state(sizes, vision.tensors, tensors)), tokenizer


def _require_one_language_model(config: ChatConfig) -> None:
    if bool(config.language) == bool(config.language_checkpoint):
        raise ValueError("set one of model.language and model.language_checkpoint, or --from from an InternVL folder")


def load_processor(folder: Path) -> Any:
    """The processor of a saved model."""
    define_missing_operators()
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(folder)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder."""
    define_missing_operators()
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)
