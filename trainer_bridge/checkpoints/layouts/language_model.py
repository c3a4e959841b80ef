"""Hugging Face language models of the LLaMA family (Llama, Mistral, Qwen2, Qwen3, SmolLM2), as .gguf too: a text tower."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from tokenizers import Tokenizer

from infra.compat.errors import nearest
from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.checkpoints.checkpoint import Checkpoint, expected_side
from trainer_bridge.checkpoints.hugging_face import load_language_model
from trainer_bridge.checkpoints.layouts.layout import CONFIG, Layout, read_config, read_tokenizer, validated
from trainer_bridge.checkpoints.weights import Place, read_renamed
from trainer_bridge.models.text_tower import Architecture, TextConfig

FAMILIES = get_args(Architecture.model_fields["model_type"].annotation)
OTHERS = ("internvl", "intern_vit_6b", "internvl_chat")  # these have layouts of their own, or none here
TOWER, HEAD = "text_tower.", "text_head."
LENGTH = TextConfig.model_fields["length"].default


def _recognises(path: Path) -> bool:
    return path.suffix == ".gguf" or read_config(path).get("model_type", OTHERS[0]) not in OTHERS


def _read(path: Path) -> Checkpoint:
    return _read_gguf(path) if path.suffix == ".gguf" else _read_folder(path)


def _read_gguf(path: Path) -> Checkpoint:
    model, tokenizer = load_language_model(str(path), "the text tower")
    config = _text_config(model.config, tokenizer.backend_tokenizer, path)
    expected = expected_side({"text": config}, [TOWER, HEAD])
    tensors = model.state_dict()
    state = {name: tensors[place.name] for name, place in _places(expected).items()}
    return Checkpoint({"text": config}, state, tokenizer.backend_tokenizer)


def _read_folder(folder: Path) -> Checkpoint:
    define_missing_operators()
    from transformers import AutoConfig

    where, kind = folder / CONFIG, read_config(folder)["model_type"]
    if kind not in FAMILIES:
        raise ValueError(f"{where}: model_type {kind!r} is no language model that can be a text tower; {nearest(kind, FAMILIES)}")
    try:
        theirs = AutoConfig.from_pretrained(folder)
    except Exception as error:  # transformers validates with types of its own
        raise ValueError(f"{where} is no configuration that transformers reads ({str(error).splitlines()[0]})") from None
    tokenizer = read_tokenizer(folder)
    config = _text_config(theirs, tokenizer, where)
    expected = expected_side({"text": config}, [TOWER, HEAD])

    def ignored(name: str) -> bool:
        return name.endswith(".inv_freq") or (name == "lm_head.weight" and not config.output_head)

    return Checkpoint({"text": config}, read_renamed(folder, _places(expected), expected, ignored), tokenizer)


def _places(names: Mapping[str, Any]) -> dict[str, Place]:
    return {
        name: Place(f"model.{name.removeprefix(TOWER)}" if name.startswith(TOWER) else f"lm_head.{name.removeprefix(HEAD)}")
        for name in names
    }


def _text_config(theirs: Any, tokenizer: Tokenizer, where: Path) -> TextConfig:
    """Our configuration of one of transformers', and of the tokens its tokenizer puts around a text."""
    architecture = {name: getattr(theirs, name, None) for name in Architecture.model_fields}
    values = {
        "vocabulary": theirs.vocab_size,
        "width": theirs.hidden_size,
        "depth": theirs.num_hidden_layers,
        "heads": theirs.num_attention_heads,
        "mlp": theirs.intermediate_size,
        "begin": _begin(tokenizer),
        "end": _end(theirs.eos_token_id, tokenizer, where),
        "output_head": not theirs.tie_word_embeddings,
        "pad": -1,
        "architecture": {name: value for name, value in architecture.items() if value is not None},
    }
    return validated(TextConfig, values, where)  # type: ignore[no-any-return]


def _begin(tokenizer: Tokenizer) -> str:
    """The special token that the tokenizer puts before every text, empty where it puts none."""
    with_special, without = (tokenizer.encode("a", add_special_tokens=special).ids for special in (True, False))
    first = with_special[0] if with_special else None
    return "" if first is None or first in without[:1] else str(tokenizer.id_to_token(first))


def _end(ids: int | list[int] | None, tokenizer: Tokenizer, where: Path) -> str:
    """The name of the first end token in a configuration; ValueError when there is none."""
    first = ids[0] if isinstance(ids, list) and ids else ids
    name = tokenizer.id_to_token(first) if isinstance(first, int) else None
    if name is None:
        raise ValueError(f"{where} names no eos_token_id that the tokenizer has; add it, as a caption's feature is read there")
    return str(name)


LAYOUT = Layout(_recognises, _read)
