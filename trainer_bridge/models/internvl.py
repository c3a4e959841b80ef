"""InternVL-Chat in transformers' native classes: InternViT → pixel unshuffle → MLP → causal language model. Source: InternVL
§3.4.

A model is built from a stage-1 InternViT and a language model; `checkpoints/hugging_face.py` loads and saves it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from infra.compat.settings import Section
from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.models.internvit import InternViT, InternViTConfig, require_heads
from trainer_bridge.models.qllama import GenerativeConfig
from trainer_bridge.models.sequence_loss import SequenceLoss
from trainer_bridge.models.text_tower import TextConfig


class LanguageConfig(Section):
    """Sizes of a new LLaMA. SmolLM2-135M: width 576, depth 30, 9 heads, mlp 1536."""

    vocabulary: int = Field(ge=300)
    width: int = Field(ge=1)
    depth: int = Field(ge=1)
    heads: int = Field(ge=1)
    mlp: int = Field(ge=1)


Module = Literal["projector", "language", "vision", "queries"]
MODULES: dict[str, tuple[str, ...]] = {  # name of a module → what its parameters have in their names
    "projector": ("multi_modal_projector", "query_projector"),
    "language": ("language_model", "lm_head"),
    "vision": ("vision_tower",),
    "queries": ("query_tower",),
}


class ConversationModelConfig(Section):
    """What the settings of every model have that learns from conversations: most tokens of one, those of pictures included."""

    length: int = Field(2048, ge=8)


class ChatConfig(ConversationModelConfig):
    """Which language model stage 3 starts from, and what it trains.

    train                modules, as ["projector", "language"], or "projector+language"; "everything": all that there are
    language             a new LLaMA, with a tokenizer trained on the captions; or
    language_checkpoint  a pretrained model: a Hugging Face folder of safetensors, or a .gguf file
    length               most tokens of a conversation, those of the picture included
    visual               what the language model sees of a picture: "patches", those of the image tower (InternVL-Chat without
                         QLLaMA), "queries", those of a stage-2 model, or both
    downsample           scale of the token grid's side by the pixel unshuffle: 0.5 makes one token of four
    dropout              dropout of the residual branches of the language model
    """

    train: tuple[Module, ...]
    language: LanguageConfig | None = None
    language_checkpoint: str = ""
    visual: tuple[Literal["patches", "queries"], ...] = Field(("patches",), min_length=1)
    downsample: float = Field(0.5, gt=0, le=1)
    dropout: float = Field(0.0, ge=0, lt=1)

    @field_validator("train", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Both ways to write it."""
        return list(MODULES) if value == "everything" else value.split("+") if isinstance(value, str) else value


def is_trained(parameter: str, train: Iterable[str]) -> bool:
    """Whether the modules of the `train` setting have the parameter of that name."""
    return any(part in parameter for module in train for part in MODULES[module])


def vision_config(config: InternViTConfig) -> Any:
    """The InternVLVisionConfig of our InternViT's sizes; ValueError when transformers has no such tower."""
    if config.pre_norm:
        raise ValueError("an image tower with a norm before its first block (pre_norm) is no InternViT; stage 3 needs one")
    define_missing_operators()
    from transformers import InternVLVisionConfig

    return InternVLVisionConfig(
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp,
        image_size=config.image_size,
        patch_size=config.patch,
        hidden_act=config.activation,
        use_qk_norm=config.qk_norm,
        norm_type=f"{config.norm}_norm",
        layer_norm_eps=config.norm_eps,
        attention_bias=config.qkv_bias,
        layer_scale_init_value=config.layer_scale,
        use_mean_pooling=True,  # in transformers this means: no norm after the last block
    )


def vision_state(config: InternViTConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our InternViT's weights under the names of transformers' InternVLVisionModel."""
    renamed = {
        "embeddings.cls_token": state["class_token"],
        "embeddings.position_embeddings": state["positions"],
        "embeddings.patch_embeddings.projection.weight": state["patches.weight"],
        "embeddings.patch_embeddings.projection.bias": state["patches.bias"],
    }
    block_names = {
        "attention_norm.weight": "layernorm_before.weight",
        "attention_norm.bias": "layernorm_before.bias",
        "mlp_norm.weight": "layernorm_after.weight",
        "mlp_norm.bias": "layernorm_after.bias",
        "attention.q_norm.weight": "attention.q_norm.weight",
        "attention.k_norm.weight": "attention.k_norm.weight",
        "attention.out.weight": "attention.projection_layer.weight",
        "attention.out.bias": "attention.projection_layer.bias",
        "attention_scale": "lambda_1",
        "mlp_scale": "lambda_2",
        "mlp.0.weight": "mlp.fc1.weight",
        "mlp.0.bias": "mlp.fc1.bias",
        "mlp.2.weight": "mlp.fc2.weight",
        "mlp.2.bias": "mlp.fc2.bias",
    }
    for i in range(config.depth):
        ours, theirs = f"blocks.{i}.", f"encoder.layer.{i}."
        renamed |= {theirs + name: state[ours + source] for source, name in block_names.items() if ours + source in state}
        for kind in ("weight", "bias") if config.qkv_bias else ("weight",):
            for name, piece in zip("qkv", state[f"{ours}attention.qkv.{kind}"].chunk(3), strict=True):
                renamed[f"{theirs}attention.{name}_proj.{kind}"] = piece
    return renamed


def image_tokens(config: InternViTConfig, downsample: float) -> int:
    """Tokens of a picture in the language model; ValueError when `downsample` does not divide the grid."""
    grid = config.image_size // config.patch
    if (grid * downsample) % 1:
        raise ValueError(f"model.downsample = {downsample} does not divide the grid of {grid} x {grid} patches; choose 1 or 0.5")
    return int(grid * downsample) ** 2


def join_internvl(
    vision: InternViTConfig,
    language: Any,
    image_token: int,
    downsample: float,
    qllama: tuple[TextConfig, GenerativeConfig] | None = None,
    visual: Sequence[str] = ("patches",),
) -> Any:
    """A new InternVLForConditionalGeneration; `language` is the configuration of a causal language model of transformers.

    qllama  the text tower and the queries of stage 2, where `visual` names "queries"
    """
    define_missing_operators()
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    settings: dict[str, Any] = {
        "vision_config": vision_config(vision),
        "text_config": language,
        "image_token_id": image_token,
        "image_seq_length": image_tokens(vision, downsample) if "patches" in visual else 0,
        "downsample_ratio": downsample,
        "tie_word_embeddings": language.tie_word_embeddings,
    }
    if qllama is None:
        return InternVLForConditionalGeneration(InternVLConfig(**settings))
    from trainer_bridge.models.query_internvl import QueryInternVL, QueryInternVLConfig

    text, queries = qllama
    settings["image_seq_length"] += queries.queries
    settings |= {"visual": list(visual), "qllama_text": text.model_dump(mode="json"), "qllama": queries.model_dump(mode="json")}
    return QueryInternVL(QueryInternVLConfig(**settings))


def tower_state(config: InternViTConfig, vision: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of our InternViT under their names in an InternVL."""
    return {f"model.vision_tower.{name}": tensor for name, tensor in vision_state(config, vision).items()}


def language_state(language: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a causal language model under their names in an InternVL."""
    names = {
        name: name if name.startswith("lm_head.") else f"model.language_model.{name.removeprefix('model.')}" for name in language
    }
    return {names[name]: tensor for name, tensor in language.items()}


def query_state(stage1: Mapping[str, Tensor], added: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a stage-2 model, those of its stage 1 and those that it added, under their names in a QueryInternVL."""
    tower = {name: tensor for name, tensor in stage1.items() if name.startswith(("text_tower.layers.", "text_tower.norm."))}
    tower |= {name: tensor for name, tensor in added.items() if name == "queries" or name.startswith("cross.")}
    return {f"model.query_tower.{name}": tensor for name, tensor in tower.items()}


def build_internvl(vision: InternViT, language: Any, image_token: int, downsample: float) -> Any:
    """InternVLForConditionalGeneration of `vision`, a new MLP, and `language`, a causal language model of transformers."""
    model = join_internvl(vision.config, language.config, image_token, downsample)
    own = tower_state(vision.config, vision.state_dict()) | language_state(language.state_dict())
    model.load_state_dict(model.state_dict() | own)
    return model


def qllama_of(config: Any) -> tuple[TextConfig, GenerativeConfig] | None:
    """The sizes of the QLLaMA of a model of stage 3, None without one."""
    if not hasattr(config, "qllama"):
        return None
    return TextConfig(**config.qllama_text), GenerativeConfig(**config.qllama)


def language_settings(config: LanguageConfig, length: int, pad: int, end: int) -> Any:
    """The LlamaConfig of a new language model of these sizes, its output tied to its input embeddings."""
    define_missing_operators()
    require_heads(config.width, config.heads, "model.language.heads")
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=config.vocabulary,
        hidden_size=config.width,
        intermediate_size=config.mlp,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        max_position_embeddings=length,
        pad_token_id=pad,
        bos_token_id=None,
        eos_token_id=end,
        tie_word_embeddings=True,
        initializer_range=1 / math.sqrt(config.width),
    )


def new_language_model(config: LanguageConfig, length: int, pad: int, end: int) -> Any:
    """A LlamaForCausalLM of these sizes, randomly initialised."""
    settings = language_settings(config, length, pad, end)
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM(settings)


def add_dropout(language: Any, share: float) -> None:
    """Dropout on the residual branches of a LLaMA, attention and MLP, in training; transformers has no setting for it."""

    def dropout(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return F.dropout(output, share, training=module.training)

    for layer in language.layers:
        layer.self_attn.o_proj.register_forward_hook(dropout)
        layer.mlp.down_proj.register_forward_hook(dropout)


class ChatLoss(SequenceLoss):
    """An InternVLForConditionalGeneration and its loss on answers."""

    def __init__(self, chat: Any) -> None:
        super().__init__()
        self.chat = chat

    @property
    def head(self) -> nn.Module:
        """What gives logits of states."""
        head: nn.Module = self.chat.lm_head
        return head

    def states(self, ids: Tensor, pixels: Tensor, **options: Any) -> Tensor:
        """As of `SequenceLoss`. Attention is causal and padding comes last, so no label needs a mask, and without one attention
        has faster kernels.
        """
        embedded = self._embedded(ids, pixels)
        states: Tensor = self.chat.model.language_model(inputs_embeds=embedded, use_cache=False, **options).last_hidden_state
        return states

    def _embedded(self, ids: Tensor, pixels: Tensor) -> Tensor:
        """[B, T, D]: words, with pictures at the places of the image token.

        The same modules in the same order on every rank, as ZeRO-3 gathers their weights together: without a picture a black one
        is encoded, and nothing is learned from it.
        """
        words: Tensor = self.chat.get_input_embeddings()(ids)
        shown = pixels if len(pixels) else pixels.new_zeros(1, *pixels.shape[1:])
        seen = self.chat.model.get_image_features(pixel_values=shown, return_dict=True).pooler_output
        if not len(pixels):
            return words + 0 * seen.sum()
        places = (ids == self.chat.config.image_token_id)[..., None]
        return words.masked_scatter(places, seen.to(words.dtype))
