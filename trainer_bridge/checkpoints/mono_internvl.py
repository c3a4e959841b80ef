"""Folders of Mono-InternVL as OpenGVLab releases it (Mono-InternVL-2B): read, written, and begun from a language model.

The released model is an InternLM2: a LLaMA whose queries, keys and values are rows of one matrix, key-value group by group. So a
model of ours around a plain LLaMA is written under the released names. One around another family (Qwen's biases and norms have no
place there) keeps the names of transformers, below the same `language_model.`, and its configuration. Never a pickle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.checkpoints.building import Start
from trainer_bridge.checkpoints.layouts.layout import CONFIG, WEIGHTS, known, read_config, write_config
from trainer_bridge.checkpoints.weights import check_tensors, read_tensors, save_tensors
from trainer_bridge.models.mono import MonoModel, PictureConfig

RELEASED = "InternLM2VEForCausalLM"
PICTURES = {
    "patches.weight": "vision_model.embeddings.patch_embedding.weight",
    "patches.bias": "vision_model.embeddings.patch_embedding.bias",
    "class_token": "vision_model.embeddings.class_embedding",
    "positions": "vision_model.embeddings.position_embedding",
    **{f"connector.{i}.{kind}": f"mlp1.{i}.{kind}" for i in (0, 1, 3) for kind in ("weight", "bias")},
}
LLAMA = {  # of transformers' LlamaForCausalLM → of the released InternLM2
    "model.embed_tokens.weight": "model.tok_embeddings.weight",
    "model.norm.weight": "model.norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER = {
    "input_layernorm.weight": "attention_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.o_proj.weight": "attention.wo.weight",
    "self_attn.o_proj.bias": "attention.wo.bias",
    **{
        f"mlp.{ours}{matrix}_proj.weight": f"{theirs}.{name}.weight"
        for ours, theirs in (("text.", "feed_forward"), ("visual.", "feed_forward_ve"), ("", "feed_forward"))
        for matrix, name in (("gate", "w1"), ("down", "w2"), ("up", "w3"))
    },
}
HEAD = "language.lm_head.weight"
QKV = re.compile(r"(model\.layers\.\d+\.)self_attn\.([qkv])_proj\.(weight|bias)")


def is_mono(folder: Path) -> bool:
    """Whether the folder holds a Mono-InternVL."""
    return bool(read_config(folder).get("vision_config", {}).get("model_type") == "intern_vit_patch")


def read_mono(folder: Path, image_token: int) -> Start[MonoModel]:
    """The model in a folder, not yet filled; ValueError in one line when it does not load."""
    config, where = read_config(folder), folder / CONFIG
    language = _language_config(config, where)
    model = new_mono(_picture_config(config, where), language, image_token)
    expected = model.state_dict()
    places = released_names(expected) if _is_released(config) else plain_names(expected)
    theirs = {name: tensor for name, tensor in read_tensors(folder).items() if not name.endswith("inv_freq")}
    check_tensors(folder, theirs, {name: _without_data(names, expected) for name, names in places.items()})
    tensors: dict[str, Tensor] = {}
    for name, names in places.items():
        tensors |= zip(names, _taken_apart(theirs[name], names, language), strict=True)
    return Start(model, tensors)


def write_mono(
    folder: Path,
    model: MonoModel,
    weights: Mapping[str, Tensor],
    tokenizer: Any,
    settings: Mapping[str, Any],
    tiles: tuple[int, int] = (1, 1),
) -> None:
    """Writes a model, its tokenizer, the `settings` of its training, and the least and most tiles of its pictures; float32.

    `weights` are all of the model's by name, where under ZeRO-3 it holds but a piece of each.
    """
    language = model.language.config
    is_released = _is_llama(language)
    places = released_names(weights) if is_released else plain_names(weights)
    # A head that is tied to the embeddings is written as a tensor of its own.
    own = {**weights, HEAD: weights[HEAD].clone()} if language.tie_word_embeddings else weights
    write_config(folder, _written_config(model, is_released, tiles))
    save_tensors(folder / WEIGHTS, ((name, _joined([own[each] for each in names], language)) for name, names in places.items()))
    tokenizer.save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")


def new_mono(picture: PictureConfig, language: Any, image_token: int) -> MonoModel:
    """A model without data, on the meta device; `language` is the configuration of a causal language model of transformers."""
    define_missing_operators()
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return MonoModel(picture, AutoModelForCausalLM.from_config(language), image_token)


def begun_from(language: Mapping[str, Tensor], experts: bool) -> dict[str, Tensor]:
    """The tensors of a MonoModel around a language model: its own, and copies of its FFNs for image tokens."""
    begun: dict[str, Tensor] = {}
    for name, tensor in language.items():
        for room in ("mlp.text", "mlp.visual") if experts else ("mlp",):
            begun[f"language.{name.replace('.mlp.', f'.{room}.')}"] = tensor
    return begun


def released_names(ours: Iterable[str]) -> dict[str, list[str]]:
    """Released name → the names in a MonoModel of what it holds: one tensor, or queries, keys and values."""
    return _named(ours, _released_name)


def plain_names(ours: Iterable[str]) -> dict[str, list[str]]:
    """The same where the language model keeps the names of transformers."""
    return _named(ours, lambda name: name)


def _named(ours: Iterable[str], of_language: Callable[[str], str]) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for name in ours:
        room, _, rest = name.partition(".")
        theirs = PICTURES[rest] if room == "pictures" else f"language_model.{of_language(rest)}"
        places.setdefault(theirs, []).append(name)
    return places


def _released_name(name: str) -> str:
    if packed := QKV.fullmatch(name):
        return f"{packed[1]}attention.wqkv.{packed[3]}"
    if name in LLAMA:
        return LLAMA[name]
    layers, number, rest = re.fullmatch(r"(model\.layers)\.(\d+)\.(.+)", name).groups()  # type: ignore[union-attr]
    return f"{layers}.{number}.{LAYER[rest]}"


def _joined(tensors: list[Tensor], language: Any) -> Tensor:
    """Queries [heads · d, …], keys and values → rows of one matrix: of each key-value group its queries, its key, its value."""
    if len(tensors) == 1:
        return tensors[0]
    groups = language.num_key_value_heads
    q, k, v = (tensor.unflatten(0, (groups, -1)) for tensor in tensors)
    return torch.cat([q, k, v], dim=1).flatten(0, 1)


def _taken_apart(tensor: Tensor, names: list[str], language: Any) -> list[Tensor]:
    """The opposite of `_joined`."""
    if len(names) == 1:
        return [tensor]
    groups = language.num_key_value_heads
    size = tensor.shape[0] // (groups * (language.num_attention_heads // groups + 2))
    rows = tensor.unflatten(0, (groups, -1))
    sizes = [rows.shape[1] - 2 * size, size, size]
    return [piece.flatten(0, 1) for piece in rows.split(sizes, dim=1)]


def _without_data(names: list[str], expected: Mapping[str, Tensor]) -> Tensor:
    """A tensor of the shape that those of these names have as one."""
    rows = sum(expected[name].shape[0] for name in names)
    return torch.empty((rows, *expected[names[0]].shape[1:]), device="meta")


def _is_released(config: Mapping[str, Any]) -> bool:
    return bool(config.get("llm_config", {}).get("model_type") == "internlm2")


def _is_llama(language: Any) -> bool:
    """Whether the released InternLM2 computes the same: LLaMA's own, heads that fill the width, no bias in the FFN."""
    head = getattr(language, "head_dim", None) or language.hidden_size // language.num_attention_heads
    fills = head * language.num_attention_heads == language.hidden_size
    rope = language.rope_parameters or {}
    known_rope = rope.get("rope_type", "default") in ("default", "linear", "dynamic")
    return language.model_type == "llama" and fills and not language.mlp_bias and known_rope


def _written_config(model: MonoModel, is_released: bool, tiles: tuple[int, int]) -> dict[str, Any]:
    picture, language = model.config, model.language.config
    return {
        "architectures": ["InternVLChatModel"],
        "model_type": "internvl_chat",
        "downsample_ratio": 0.5,
        "ps_version": "v2",
        "dynamic_image_size": tiles[1] > 1,
        "use_thumbnail": True,
        "min_dynamic_patch": tiles[0],
        "max_dynamic_patch": tiles[1],
        "force_image_size": picture.image_size,
        "select_layer": -1,
        "template": "internlm2-chat",
        "pad2square": False,
        "torch_dtype": "float32",
        "vision_config": {
            "model_type": "intern_vit_patch",
            "architectures": ["InternVisionPatchModel"],
            "hidden_size": picture.width,
            "image_size": picture.image_size,
            "patch_size": picture.patch,
            "num_channels": 3,
        },
        "llm_config": _released_language(language, picture.experts)
        if is_released
        else language.to_dict() | {"architectures": [type(model.language).__name__], "visual_experts": picture.experts},
    }


def _released_language(language: Any, experts: bool) -> dict[str, Any]:
    rope = dict(language.rope_parameters or {})
    kind, theta = rope.get("rope_type", "default"), rope.get("rope_theta", 10000.0)
    same = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    rest = ("hidden_act", "max_position_embeddings", "rms_norm_eps", "pad_token_id", "bos_token_id", "eos_token_id")
    return {
        "architectures": [RELEASED if experts else RELEASED.replace("VE", "")],
        "model_type": "internlm2",
        **{name: getattr(language, name) for name in (*same, *rest)},
        "bias": language.attention_bias,
        "rope_theta": theta,
        "rope_scaling": None if kind == "default" else {"type": kind, "factor": float(rope["factor"])},
        "tie_word_embeddings": False,
        "attn_implementation": "eager",
    }


def _picture_config(config: Mapping[str, Any], where: Path) -> PictureConfig:
    vision, language = known(dict(config), "vision_config", where), known(dict(config), "llm_config", where)
    return PictureConfig(
        image_size=config.get("force_image_size") or known(vision, "image_size", where),
        patch=known(vision, "patch_size", where),
        width=known(vision, "hidden_size", where),
        experts=language.get("visual_experts", RELEASED in language.get("architectures", ())),
    )


def _language_config(config: Mapping[str, Any], where: Path) -> Any:
    """The configuration in transformers of the language model; ValueError in one line."""
    define_missing_operators()
    from transformers import AutoConfig, LlamaConfig

    given = known(dict(config), "llm_config", where)
    if given.get("model_type") != "internlm2":
        try:
            values = {name: value for name, value in given.items() if name not in ("model_type", "visual_experts")}
            return AutoConfig.for_model(known(given, "model_type", where), **values)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{where}: llm_config is none that transformers reads ({str(error).splitlines()[0]})") from None
    scaling = given.get("rope_scaling") or {}
    rope = {"rope_type": scaling.get("type", "default"), "rope_theta": given.get("rope_theta", 10000.0)}
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return LlamaConfig(
        **{name: known(given, name, where) for name in names},
        num_key_value_heads=given.get("num_key_value_heads"),
        hidden_act=given.get("hidden_act", "silu"),
        max_position_embeddings=given.get("max_position_embeddings", 2048),
        rms_norm_eps=given.get("rms_norm_eps", 1e-6),
        attention_bias=given.get("bias", True),
        rope_parameters=rope | ({"factor": scaling["factor"]} if scaling else {}),
        pad_token_id=given.get("pad_token_id"),
        bos_token_id=given.get("bos_token_id"),
        eos_token_id=given.get("eos_token_id"),
        tie_word_embeddings=False,
    )
