"""InternVL-C: image and text features in one space. Source: InternVL §3.2–3.3 and its released heads.

Image: InternViT tokens → attention pooling → L2. Text: the LLaMA state at the last real token ([EOS]) → linear without bias → L2.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from infra.compat.settings import Section
from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.models.internvit import InternViT, InternViTConfig, split_heads

MAX_LOGIT_SCALE = 100.0


class TextConfig(Section):
    """Sizes of the LLaMA text tower. LLaMA-7B: width 4096, depth 32, heads 32, mlp 11008, vocabulary 32000.

    `length` is in tokens, [EOS] included; `prefix` is put before every caption to be encoded ("summarize:" as released).
    """

    vocabulary: int = Field(32000, ge=4)
    length: int = Field(80, ge=2)
    prefix: str = ""
    width: int = Field(4096, ge=1)
    depth: int = Field(32, ge=1)
    heads: int = Field(32, ge=1)
    mlp: int = Field(11008, ge=1)


class ContrastiveConfig(Section):
    """Sizes of the whole model; `embedding` is the width of both features (768 in InternVL)."""

    image: InternViTConfig
    text: TextConfig
    embedding: int = Field(768, ge=1)
    pool_heads: int = Field(16, ge=1)


def unit(features: Tensor) -> Tensor:
    """Features[B, D], L2-normalised in float32: in bf16 their cosines would be rounded to 1/256."""
    return F.normalize(features.float(), dim=-1)


class AttentionPool(nn.Module):
    """tokens[B, T, width] → float[B, out]: the query is the mean token; q, k and v have a LayerNorm each."""

    def __init__(self, width: int, heads: int, out: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_norm, self.k_norm, self.v_norm = (nn.LayerNorm(width) for _ in range(3))
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, out)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens[B, T, width] → [B, out]."""
        q = self.q(self.q_norm(tokens.mean(dim=1, keepdim=True)))
        k, v = self.k(self.k_norm(tokens)), self.v(self.v_norm(tokens))
        q, k, v = (split_heads(x, self.heads) for x in (q, k, v))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)).squeeze(1)


class ContrastiveModel(nn.Module):
    """InternVL-C. Features are L2-normalised, float[B, embedding]."""

    def __init__(self, config: ContrastiveConfig) -> None:
        super().__init__()
        define_missing_operators()  # transformers imports torchvision where there is one
        from transformers import LlamaConfig, LlamaModel

        self.config = config
        self.image_tower = InternViT(config.image)
        self.image_pool = AttentionPool(config.image.width, config.pool_heads, config.embedding)
        self.text_tower = LlamaModel(
            LlamaConfig(
                vocab_size=config.text.vocabulary,
                hidden_size=config.text.width,
                intermediate_size=config.text.mlp,
                num_hidden_layers=config.text.depth,
                num_attention_heads=config.text.heads,
                max_position_embeddings=config.text.length,
                pad_token_id=0,
                use_cache=False,
            )
        )
        self.text_projection = nn.Linear(config.text.width, config.embedding, bias=False)
        self.logit_scale = nn.Parameter(torch.full((1,), math.log(1 / 0.07)))

    def encode_image(self, images: Tensor, drop_tokens: float = 0.0) -> Tensor:
        """Images float[B, 3, H, W] → [B, embedding]."""
        return unit(self.image_pool(self.image_tower(images, drop_tokens)))

    def encode_text(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Tokens int64[B, T] padded at the end, lengths int64[B] with [EOS] included → [B, embedding]."""
        # Attention is causal and padding comes last, so the state at [EOS] needs no mask.
        states = self.text_tower(input_ids=tokens).last_hidden_state
        last = states[torch.arange(tokens.shape[0], device=tokens.device), lengths - 1]
        return unit(self.text_projection(last))

    def forward(self, images: Tensor, tokens: Tensor, lengths: Tensor, drop_tokens: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """(image features [B, embedding], text features [B, embedding], logit scale [1], clamped at 100 as CLIP's)."""
        scale = self.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
        return self.encode_image(images, drop_tokens), self.encode_text(tokens, lengths), scale
