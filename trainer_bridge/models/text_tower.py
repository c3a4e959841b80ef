"""The text tower: a causal language model of the LLaMA family, new or as it was pretrained, in transformers' classes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from infra.compat.settings import Section
from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.models.internvit import require_heads


class Architecture(Section):
    """In what a pretrained tower differs from LLaMA, in the names of transformers' configurations; unset: as they have it."""

    model_type: Literal["llama", "mistral", "qwen2", "qwen3"] = "llama"
    num_key_value_heads: int | None = Field(None, ge=1)
    head_dim: int | None = Field(None, ge=1)
    hidden_act: str | None = None
    rms_norm_eps: float | None = Field(None, gt=0)
    rope_parameters: dict[str, Any] | None = None
    attention_bias: bool | None = None
    mlp_bias: bool | None = None
    max_position_embeddings: int | None = Field(None, ge=1)


class TextConfig(Section):
    """Sizes of the text tower. LLaMA-7B: width 4096, depth 32, heads 32, mlp 11008, vocabulary 32000.

    length       in tokens, [BOS] and [EOS] included
    prefix       put before every caption to be encoded ("summarize:" as released)
    begin        the token put before the prefix, [BOS]; empty: none
    end          the token put after every caption, [EOS], at which its feature is read
    output_head  an output layer of its own, which ITG uses; else the embeddings are its weights
    pad          the id of padding, which is not trained; -1: padding has no id of its own
    """

    vocabulary: int = Field(32000, ge=4)
    length: int = Field(80, ge=2)
    prefix: str = ""
    width: int = Field(4096, ge=1)
    depth: int = Field(32, ge=1)
    heads: int = Field(32, ge=1)
    mlp: int = Field(11008, ge=1)
    begin: str = ""
    end: str = "</s>"
    output_head: bool = False
    pad: int = Field(0, ge=-1)
    architecture: Architecture = Architecture()

    @property
    def norm_eps(self) -> float:
        """The epsilon of the tower's norms."""
        return self.architecture.rms_norm_eps or 1e-6


def new_text_tower(config: TextConfig) -> Any:
    """A randomly initialised LlamaModel, MistralModel, Qwen2Model or Qwen3Model."""
    if config.architecture.head_dim is None:
        require_heads(config.width, config.heads, "model.text.heads")
    define_missing_operators()  # transformers imports torchvision where there is one
    from transformers import AutoConfig, AutoModel

    sizes = {
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "intermediate_size": config.mlp,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads,
        "max_position_embeddings": config.length,
        "pad_token_id": config.pad if config.pad >= 0 else None,
        "sliding_window": None,  # a caption is shorter than any
        "use_cache": False,
    }
    return AutoModel.from_config(AutoConfig.for_model(**sizes | config.architecture.model_dump(exclude_none=True)))
