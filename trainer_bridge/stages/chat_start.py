"""What stage 3 starts from: an InternVL, or an image tower and a language model; and what of it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from infra.compat.torchvision_operators import define_missing_operators
from sharding.index import Dataset
from trainer_bridge.checkpoints.building import Start
from trainer_bridge.checkpoints.hugging_face import (
    is_internvl,
    language_config,
    load_internvl,
    load_language_model,
    outline_internvl,
)
from trainer_bridge.checkpoints.layouts import read_checkpoint
from trainer_bridge.checkpoints.model_folders import META, image_tower_start
from trainer_bridge.data.chat_tokenizer import IMAGE, add_chat_tokens, load_tokenizer, new_tokenizer
from trainer_bridge.models.internvl import (
    MODULES,
    ChatConfig,
    add_dropout,
    is_trained,
    join_internvl,
    language_settings,
    language_state,
    query_state,
    tower_state,
)
from trainer_bridge.stages.stage import first_captions, made_once


def require_start(start: Path | None) -> Path:
    """The folder that the stage starts from; ValueError when there is none."""
    if start is None:
        raise ValueError("the chat stage starts from a stage-1 model, an InternViT or an InternVL; name its folder with --from")
    return start


def prepare(chat: Any, config: ChatConfig) -> None:
    """Settles which parameters are trained, and adds dropout; ValueError when `model.train` names what the model has not."""
    names = [name for name, _ in chat.named_parameters()]
    for module in config.train if set(config.train) != set(MODULES) else ():
        if not any(is_trained(name, [module]) for name in names):
            raise ValueError(f"model.train names {module!r}, of which this model has none; leave it out")
    for name, parameter in chat.named_parameters():
        parameter.requires_grad_(is_trained(name, config.train) or ".lora_" in name)
    if config.dropout:
        add_dropout(chat.model.language_model, config.dropout)


def resumed(config: ChatConfig, start: Path) -> tuple[Any, Any]:
    """(model, tokenizer) in a folder of stage 3; ValueError when it sees pictures otherwise than the settings say."""
    chat = load_internvl(start)
    visual = tuple(getattr(chat.config, "visual", ("patches",)))
    if "visual" in config.model_fields_set and set(config.visual) != set(visual):
        raise ValueError(f"--from {start} has another model.visual ({list(visual)}, not {list(config.visual)}); leave it out")
    return chat, load_tokenizer(start)


def outlined(config: ChatConfig, start: Path) -> Any:
    """The model of an InternVL's folder, or as `joined`, without a tokenizer and without data."""
    if is_internvl(start):
        return outline_internvl(start)
    _require_one_language_model(config)
    language = (
        language_config(config.language_checkpoint)
        if config.language is None
        else language_settings(config.language, config.length, 0, 1)
    )
    return _around(config, start, language, 0).model


def joined(config: ChatConfig, dataset: Dataset | None, start: Path, out: Path) -> tuple[Start[Any], Any]:
    """(model, tokenizer): the image tower of a model with a language model, and a new MLP between them."""
    _require_one_language_model(config)
    if config.language is None:
        language, tokenizer = load_language_model(config.language_checkpoint)
        tokenizer = add_chat_tokens(tokenizer)
        language.resize_token_embeddings(max(len(tokenizer), language.config.vocab_size))
        settings, tensors = language.config, language.state_dict()
    else:
        if dataset is None:
            raise ValueError("the tokenizer of a new language model is trained on captions; set model.language_checkpoint")
        vocabulary, tensors = config.language.vocabulary, {}
        tokenizer = load_tokenizer(
            made_once(out / "tokenizer", lambda path: new_tokenizer(first_captions(dataset), vocabulary).save_pretrained(path))
        )
        settings = language_settings(config.language, config.length, tokenizer.pad_token_id, tokenizer.eos_token_id)
    begun = _around(config, start, settings, tokenizer.convert_tokens_to_ids(IMAGE))
    return Start(begun.model, begun.tensors | language_state(tensors)), tokenizer


def _around(config: ChatConfig, start: Path, language: Any, image_token: int) -> Start[Any]:
    """The model with the language model of a configuration, and the tensors that `start` has of it."""
    checkpoint, vision = read_checkpoint(start), image_tower_start(start)
    sizes, qllama, tensors = vision.model.config, None, dict[str, Tensor]()
    if "queries" in config.visual:
        if checkpoint.generative is None:
            raise ValueError(f"model.visual names queries, and {start} has none; start from a stage-2 model")
        qllama = checkpoint.settings["text"], checkpoint.generative
        tensors = query_state(checkpoint.state, checkpoint.added)
    with META:
        model = join_internvl(sizes, language, image_token, config.downsample, qllama, config.visual)
    return Start(model, tensors | tower_state(sizes, vision.tensors))


def _require_one_language_model(config: ChatConfig) -> None:
    if bool(config.language) == bool(config.language_checkpoint):
        raise ValueError("set one of model.language and model.language_checkpoint, or --from from an InternVL folder")


def load_processor(folder: Path) -> Any:
    """The processor of a saved model."""
    define_missing_operators()
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(folder)
