"""What a stage of Mono-InternVL starts from: a language model, or the model of the stage before; and what of it is trained."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer_bridge.checkpoints.building import Start
from trainer_bridge.checkpoints.hugging_face import language_config, load_language_model
from trainer_bridge.checkpoints.mono_internvl import begun_from, is_mono, new_mono, read_mono
from trainer_bridge.data.chat_tokenizer import IMAGE
from trainer_bridge.data.mono_tokenizer import add_mono_tokens, load_mono_tokenizer
from trainer_bridge.models.mono import MonoModel, PictureConfig
from trainer_bridge.stages.mono_settings import MonoConfig, part_of

BLOCK = ("self_attn.o_proj", "mlp")  # the modules of a decoder layer that end its residual branches


def start_mono(config: MonoConfig, start: Path | None) -> tuple[Start[MonoModel], Any]:
    """(model, tokenizer) that a stage starts with; ValueError in one line when what is named does not load or fit."""
    if start is not None:
        _require_mono(start)
        tokenizer = load_mono_tokenizer(start)
        begun = read_mono(start, tokenizer.convert_tokens_to_ids(IMAGE))
        _require_same(config.picture, begun.model.config, start)
        return begun, tokenizer
    language, tokenizer = load_language_model(_language_of(config))
    tokenizer = add_mono_tokens(tokenizer)
    with_rows(language, len(tokenizer))
    model = new_mono(config.picture, language.config, tokenizer.convert_tokens_to_ids(IMAGE))
    return Start(model, begun_from(language.state_dict(), config.picture.experts)), tokenizer


def with_rows(language: Any, rows: int) -> None:
    """Gives a language model at least so many rows: at the input as it draws them, at an output of its own the mean of the old.

    Source: the released code.
    """
    before = language.config.vocab_size
    if rows <= before:
        return
    language.resize_token_embeddings(rows, mean_resizing=False)
    if not language.config.tie_word_embeddings:
        with torch.no_grad():
            head = language.lm_head.weight
            head[before:] = head[:before].mean(dim=0)


def outlined_mono(config: MonoConfig, start: Path | None) -> MonoModel:
    """The same model without a tokenizer and without data."""
    if start is None:
        return new_mono(config.picture, language_config(_language_of(config)), 0)
    _require_mono(start)
    return read_mono(start, 0).model


def prepare_mono(model: MonoModel, config: MonoConfig) -> None:
    """Settles which parameters are trained, and adds drop path; ValueError where the model has none of these."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) in config.train)
    for weight in embeddings(model) if config.new_tokens else ():
        weight.requires_grad_(True)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            f"model.train = {list(config.train)} trains nothing, as the model has no experts; name another part"
            if config.train
            else "model.train names no part of the model; name what is trained: pictures, experts, attention, language"
        )
    if config.drop_path:
        add_drop_path(model.language, config.drop_path)


def embeddings(model: MonoModel) -> list[nn.Parameter]:
    """The embeddings at the input and at the output, one where they are tied."""
    both = (model.language.get_input_embeddings().weight, model.language.get_output_embeddings().weight)
    return list(dict.fromkeys(both))


def only_rows(gradient: Tensor, rows: list[int]) -> Tensor:
    """The gradient of these rows, and zero for all others."""
    kept = torch.zeros_like(gradient)
    kept[rows] = gradient[rows]
    return kept


def add_drop_path(language: Any, share: float) -> None:
    """Leaves out residual branches of a LLaMA in training, of whole sequences, and scales the others to keep their mean."""
    depth = len(language.model.layers)
    for number, layer in enumerate(language.model.layers):
        rate = share * number / max(1, depth - 1)
        for name in BLOCK:
            layer.get_submodule(name).register_forward_hook(partial(_dropped, rate=rate))


def _dropped(module: nn.Module, inputs: Any, output: Tensor, rate: float) -> Tensor:
    if not module.training or rate == 0:
        return output
    kept = torch.rand(len(output), *[1] * (output.dim() - 1), device=output.device) >= rate
    return output * kept / (1 - rate)


def _language_of(config: MonoConfig) -> str:
    if not config.language_checkpoint:
        raise ValueError("name the language model to start from, model.language_checkpoint, or a Mono-InternVL, --from")
    return config.language_checkpoint


def _require_mono(start: Path) -> None:
    if not is_mono(start):
        raise ValueError(f"--from {start} holds no Mono-InternVL; leave it out, and set model.language_checkpoint")


def _require_same(chosen: PictureConfig, given: PictureConfig, start: Path) -> None:
    """ValueError when the experiment sets the picture's part otherwise than the folder has it."""
    for name in chosen.model_fields_set:
        if getattr(chosen, name) != getattr(given, name):
            raise ValueError(
                f"--from {start} has another model.picture.{name} ({getattr(given, name)}, not {getattr(chosen, name)})"
            )
