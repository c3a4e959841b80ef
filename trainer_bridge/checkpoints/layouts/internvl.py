"""InternVL-C and InternVL-G as OpenGVLab releases them for Hugging Face (InternVL-14B-224px): stages 1 and 2."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainer_bridge.checkpoints.checkpoint import Checkpoint, expected_state
from trainer_bridge.checkpoints.layouts.intern_vit import (
    image_places,
    read_image_config,
    write_image_config,
    write_preparation,
)
from trainer_bridge.checkpoints.layouts.layout import (
    CONFIG,
    TOKENIZER,
    WEIGHTS,
    Layout,
    known,
    read_config,
    read_tokenizer,
    validated,
    write_config,
)
from trainer_bridge.checkpoints.weights import Place, module_place, read_renamed, write_renamed
from trainer_bridge.data.tokenizer import require_tokens
from trainer_bridge.models.contrastive import ContrastiveConfig
from trainer_bridge.models.qllama import GenerativeConfig
from trainer_bridge.models.text_tower import Architecture, TextConfig

STAGE1 = "stage1."
PREFIX, BEGIN, END, LENGTH = "summarize:", "<s>", "</s>", 80  # of captions, in the released README
POOL = {
    "q_norm": "norm1_q",
    "k_norm": "norm1_k",
    "v_norm": "norm1_v",
    "q": "cross_attn.q",
    "k": "cross_attn.k",
    "v": "cross_attn.v",
    "out": "cross_attn.proj",
}
CROSS = {"q_norm": "norm1", "kv_norm": "norm2", "q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "o_proj"}


def _places(names: Iterable[str]) -> dict[str, Place]:
    """The places of the tensors of a stage-1 or stage-2 model, by our names; only stage 2 begins with `stage1.`."""
    names = [name for name in names if not name.endswith("logit_bias")]  # the released file has no sigmoid loss
    image = image_places([name.removeprefix(STAGE1) for name in names], "vision_model.")
    places = {name: image.get(name.removeprefix(STAGE1)) or _place(name) for name in names}
    # The released file has one logit scale: that of the last stage.
    return {name: place for name, place in places.items() if name != f"{STAGE1}logit_scale"}


def _place(name: str) -> Place:
    part, _, rest = name.removeprefix(STAGE1).partition(".")
    if part in ("image_pool", "query_pool"):
        place = module_place(rest, POOL).name
        biased = re.sub(r"cross_attn\.([qkv])\.bias", r"cross_attn.\1_bias", place)
        return Place(f"clip_projector{'' if part == 'image_pool' else '2'}.{biased}")
    if part == "cross":
        layer, _, module = rest.partition(".")
        return Place(f"qllama.model.layers.{layer}.cross_attn.{module_place(module, CROSS).name}")
    return {
        "text_tower": Place(f"qllama.model.{rest}"),
        "text_head": Place("qllama.lm_head.weight"),
        "text_projection": Place("text_projection", transposed=True),
        "queries": Place("query_tokens"),
        "itm_head": Place(f"itm_head.{rest}"),
        "logit_scale": Place("logit_scale", squeezed=True),
    }[part]


def _recognises(path: Path) -> bool:
    return "qllama_config" in read_config(path)


def _read(folder: Path) -> Checkpoint:
    values, where = read_config(folder), folder / CONFIG
    config, generative = _configs(values, where)
    expected = expected_state(config, generative)
    state = read_renamed(folder, _places(expected), expected, lambda name: name.endswith(".inv_freq"))
    added = {name: tensor for name, tensor in state.items() if not name.startswith(STAGE1)}
    stage1 = {name.removeprefix(STAGE1): tensor for name, tensor in state.items() if name not in added}
    stage1["logit_scale"] = added["logit_scale"].clone()
    tokenizer = read_tokenizer(folder)
    require_tokens(tokenizer, config.text, folder / TOKENIZER)
    return Checkpoint(dict(config), stage1, tokenizer, generative, added)


def _configs(values: dict[str, Any], where: Path) -> tuple[ContrastiveConfig, GenerativeConfig]:
    vision, llama = (known(values, name, where) for name in ("vision_config", "qllama_config"))
    heads = known(llama, "num_attention_heads", where)
    text = {
        "vocabulary": known(llama, "vocab_size", where),
        "width": known(llama, "hidden_size", where),
        "depth": known(llama, "num_hidden_layers", where),
        "mlp": known(llama, "intermediate_size", where),
        "heads": heads,
        "length": LENGTH,
        "prefix": PREFIX,
        "begin": BEGIN,
        "end": END,
        "output_head": True,
        "architecture": {"rms_norm_eps": llama.get("rms_norm_eps", 1e-6)},
    }
    pool_heads = values.get("attn_pool_num_heads", 16)
    # A `force_image_size` is the size of the positions in the file.
    image = vision | {"image_size": values.get("force_image_size") or vision.get("image_size")}
    config = {
        "image": read_image_config(image, where),
        "text": text,
        "embedding": values.get("clip_embed_dim", 768),
        "pool_heads": pool_heads,
    }
    generative = {
        "queries": values.get("num_query_token", 96),
        "cross_every": llama.get("cross_attention_frequency", values.get("cross_attention_frequency", 2)),
        "cross_heads": heads,
        "pool_heads": pool_heads,
    }
    return validated(ContrastiveConfig, config, where), validated(GenerativeConfig, generative, where)


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    """InternVL-G of a stage-2 model; of a stage-1 model all that InternVL-C reads of it."""
    if not checkpoint.is_whole:
        raise ValueError("an InternVL folder holds both towers and their heads; name a model of stage 1 or 2")
    config = ContrastiveConfig(**checkpoint.settings)
    generative = checkpoint.generative or GenerativeConfig(cross_heads=config.text.heads, pool_heads=config.pool_heads)
    _require_released(config, generative)
    state = dict(checkpoint.state)
    state.setdefault("text_head.weight", state["text_tower.embed_tokens.weight"].clone())
    if checkpoint.generative is not None:
        state = {STAGE1 + name: tensor for name, tensor in state.items()} | checkpoint.added
    write_config(folder, _released_config(config, generative))
    write_renamed(folder / WEIGHTS, _places(state), state)
    write_preparation(folder, config.image.image_size)
    assert checkpoint.tokenizer is not None
    checkpoint.tokenizer.save(str(folder / TOKENIZER))


def _require_released(config: ContrastiveConfig, generative: GenerativeConfig) -> None:
    """ValueError that names the setting which the released code does not have."""
    plain = Architecture(rms_norm_eps=config.text.norm_eps)
    given = config.text.architecture.model_dump(exclude_none=True, exclude={"max_position_embeddings"})
    fixed = {
        "pool": (config.pool, "attention"),
        "image.norm": (config.image.norm, "rms"),
        "generative.pool_heads": (generative.pool_heads, config.pool_heads),
        "generative.cross_heads": (generative.cross_heads, config.text.heads),
        "text.architecture": (given | plain.model_dump(exclude_none=True), plain.model_dump(exclude_none=True)),
    }
    for name, (value, needed) in fixed.items():
        if value != needed:
            raise ValueError(f"the released InternVL has no {name} = {value}, only {needed}; write the image tower as intern_vit")


def _released_config(config: ContrastiveConfig, generative: GenerativeConfig) -> dict[str, Any]:
    text: TextConfig = config.text
    return {
        "architectures": ["InternVLModel"],
        "model_type": "internvl",
        "clip_embed_dim": config.embedding,
        "attn_pool_num_heads": config.pool_heads,
        "num_query_token": generative.queries,
        "cross_attention_frequency": generative.cross_every,
        "force_image_size": None,
        "label_smoothing": 0.0,
        "use_backbone_lora": 0,
        "use_qllama_lora": 0,
        "torch_dtype": "float32",
        "vision_config": write_image_config(config.image),
        "qllama_config": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": text.vocabulary,
            "hidden_size": text.width,
            "intermediate_size": text.mlp,
            "num_hidden_layers": text.depth,
            "num_attention_heads": text.heads,
            "hidden_act": "silu",
            "max_position_embeddings": 2048,
            "rms_norm_eps": text.norm_eps,
            "cross_attention_frequency": generative.cross_every,
            "num_query_token": generative.queries,
            "pad_token_id": 0,
            "tie_word_embeddings": False,
        },
    }


LAYOUT = Layout(_recognises, _read, _write)
