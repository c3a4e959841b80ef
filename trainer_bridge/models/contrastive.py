"""InternVL-C: image and text features in one space. Source: InternVL §3.2–3.3 and its released heads.

Image: InternViT tokens → attention pooling → L2. Text: the LLaMA state at the last real token ([EOS]) → linear without bias → L2.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from infra.compat.settings import Section
from trainer_bridge.models.internvit import InternViT, InternViTConfig, split_heads
from trainer_bridge.models.pair_loss import Features
from trainer_bridge.models.text_tower import TextConfig, new_text_tower

SOFTMAX_SCALE, MAX_LOGIT_SCALE = 1 / 0.07, 100.0  # CLIP's at the start, and its limit
SIGMOID_SCALE, SIGMOID_BIAS = 10.0, -10.0  # SigLIP's at the start; it has no limit


class ContrastiveConfig(Section):
    """Sizes of the whole model, and the loss that its logits are for.

    embedding   width of both features (768 in InternVL)
    pool        how the image feature is read: attention pooling with `pool_heads` heads, or the class token, as CLIP does
    loss        softmax: CLIP's, over the row and the column of a pair; sigmoid: SigLIP's, of each pair alone, with a bias
    """

    loss: Literal["softmax", "sigmoid"] = "softmax"
    image: InternViTConfig
    text: TextConfig
    embedding: int = Field(768, ge=1)
    pool: Literal["attention", "class"] = "attention"
    pool_heads: int = Field(16, ge=1)


def unit(features: Tensor) -> Tensor:
    """Features[B, D], L2-normalised in float32: in bf16 their cosines would be rounded to 1/256."""
    return F.normalize(features.float(), dim=-1)


class AttentionPool(nn.Module):
    """tokens[B, T, width] → float[B, out]: the query is the mean token; q, k and v have a LayerNorm each."""

    reads: int | None = None  # all tokens

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


class ClassPool(nn.Module):
    """tokens[B, T, width] → float[B, out]: the class token, through a LayerNorm and a linear layer without bias. Source: CLIP."""

    reads: int | None = 1

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, out, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens[B, T, width] → [B, out]."""
        return self.out(self.norm(tokens[:, 0]))


class ContrastiveModel(nn.Module):
    """InternVL-C. Features are L2-normalised, float[B, embedding]."""

    def __init__(self, config: ContrastiveConfig) -> None:
        super().__init__()
        self.config = config
        width = config.image.width
        self.image_tower = InternViT(config.image)
        self.image_pool = (
            AttentionPool(width, config.pool_heads, config.embedding)
            if config.pool == "attention"
            else ClassPool(width, config.embedding)
        )
        self.text_tower = new_text_tower(config.text)
        if config.text.output_head:  # no loss of this stage reaches it; it is kept for the next
            self.text_head = nn.Linear(config.text.width, config.text.vocabulary, bias=False).requires_grad_(False)
        self.text_projection = nn.Linear(config.text.width, config.embedding, bias=False)
        self.logit_scale = nn.Parameter(torch.empty(1))
        self.logit_bias = nn.Parameter(torch.empty(1)) if config.loss == "sigmoid" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The scale and bias of the logits at the start."""
        nn.init.constant_(self.logit_scale, math.log(SOFTMAX_SCALE if self.logit_bias is None else SIGMOID_SCALE))
        if self.logit_bias is not None:
            nn.init.constant_(self.logit_bias, SIGMOID_BIAS)

    def encode_image(self, images: Tensor, drop_tokens: float = 0.0, seeds: Tensor | None = None) -> Tensor:
        """Images float[B, 3, H, W], and the samples' seeds int64[B] → [B, embedding]."""
        return unit(self.image_pool(self.image_tower(images, drop_tokens, seeds, self.image_pool.reads)))

    def encode_text(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Tokens int64[B, T] padded at the end, lengths int64[B] with [EOS] included → [B, embedding]."""
        # Attention is causal and padding comes last, so the state at [EOS] needs no mask.
        states = self.text_tower(input_ids=tokens).last_hidden_state
        last = states[torch.arange(tokens.shape[0], device=tokens.device), lengths - 1]
        return unit(self.text_projection(last))

    @property
    def output_weights(self) -> Tensor:
        """The weights float[vocabulary, width] that turn states of the text tower into logits of the next token."""
        weights: Tensor = (self.text_head if self.config.text.output_head else self.text_tower.embed_tokens).weight
        return weights

    def forward(
        self, images: Tensor, tokens: Tensor, lengths: Tensor, drop_tokens: float = 0.0, seeds: Tensor | None = None
    ) -> Features:
        """Features of pictures and captions, and the scale and bias of their logits."""
        image, text = self.encode_image(images, drop_tokens, seeds), self.encode_text(tokens, lengths)
        if self.logit_bias is None:
            return Features(image, text, self.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE), None)
        return Features(image, text, self.logit_scale.exp(), self.logit_bias.clone())  # ZeRO-3 takes a parameter itself away
