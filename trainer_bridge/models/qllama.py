"""QLLaMA: a stock LLaMA that attends to a picture through learned queries. Source: InternVL §3.2, BLIP-2.

The queries stand before the text tokens. Every second layer has a cross-attention, between self-attention and MLP, from the query
positions alone to InternViT's last hidden state. A sample passes three times, with an attention mask for each loss:

    pass  queries attend to   text attends to            loss
    ITM   queries, text       queries, text              does the caption fit the picture?
    ITC   queries             (apart: stage 1's feature) pooled queries against the text at [EOS]
    ITG   queries             queries and earlier text   the next token of the caption

Only queries, cross-attention, the second pooling head, the ITM head and the logit scale are trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from infra.compat.settings import Section
from trainer_bridge.models.contrastive import MAX_LOGIT_SCALE, AttentionPool, ContrastiveModel, unit
from trainer_bridge.models.internvit import RMSNorm, split_heads
from trainer_bridge.models.losses import IGNORED


class GenerativeConfig(Section):
    """Sizes of what stage 2 adds. InternVL: 96 queries, cross-attention in every second layer, 16 pooling heads."""

    queries: int = Field(96, ge=1)
    cross_every: int = Field(2, ge=1)
    cross_heads: int = Field(32, ge=1)
    pool_heads: int = Field(16, ge=1)


class Tokens(NamedTuple):
    """Captions: ids int64[B, T] padded at the end, lengths int64[B] with [EOS] included."""

    ids: Tensor
    lengths: Tensor

    def rows(self, rows: slice, length: int | None = None) -> Tokens:
        """Those of some samples, with padding to `length` alone."""
        return Tokens(self.ids[rows, :length], self.lengths[rows])


class Pictures(NamedTuple):
    """Inputs of `encode`: images float[B, 3, H, W], and their captions with stage 1's prefix."""

    images: Tensor
    prefixed: Tokens


class Encoded(NamedTuple):
    """What a step needs of every sample before the first loss: picture [B, N, image width], and the ITC features and scale."""

    picture: Tensor
    image: Tensor
    text: Tensor
    scale: Tensor


def joined(parts: Sequence[Encoded]) -> Encoded:
    """The micro-batches of a step in one."""
    picture, image, text = (torch.cat(tensors) for tensors in list(zip(*parts, strict=True))[:3])
    return Encoded(picture, image, text, parts[0].scale)


class Examples(NamedTuple):
    """Inputs of the three passes.

    picture          [B, N, image width], as encoded
    caption          its caption
    matched_picture  ITM: the picture of the pair, as encoded
    matched_caption  ITM: the caption of the pair
    begin            ITG: the token before a caption that has no [BOS] of its own
    """

    picture: Tensor
    caption: Tokens
    matched_picture: Tensor
    matched_caption: Tokens
    begin: int


class Outputs(NamedTuple):
    """What the losses are computed from. A tuple: in an object of another class ZeRO-3 would not see the tensors.

    image         ITC: features [B, embedding], L2-normalised
    scale         ITC: logit scale [1]
    match_logits  ITM: [B, 2]
    token_logits  ITG: [B, T, vocabulary]
    """

    image: Tensor
    scale: Tensor
    match_logits: Tensor
    token_logits: Tensor


class CrossAttention(nn.Module):
    """Residual cross-attention of queries [B, Q, width] to picture tokens [B, N, image width], RMSNorm on both."""

    def __init__(self, width: int, image_width: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.q_norm, self.kv_norm = RMSNorm(width, eps=eps), RMSNorm(image_width, eps=eps)
        self.q = nn.Linear(width, width, bias=False)
        self.k, self.v = (nn.Linear(image_width, width, bias=False) for _ in range(2))
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, queries: Tensor, picture: Tensor) -> Tensor:
        """[B, Q, width], [B, N, image width] → [B, Q, width]."""
        tokens = self.kv_norm(picture)
        q, k, v = (split_heads(x, self.heads) for x in (self.q(self.q_norm(queries)), self.k(tokens), self.v(tokens)))
        return queries + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class QueryLayer(nn.Module):
    """A stock decoder layer of LLaMA, with a cross-attention of the first positions, the queries, between its halves."""

    def __init__(self, layer: Any, cross: CrossAttention | None, queries: int) -> None:
        super().__init__()
        self.parts = layer, cross  # in a tuple, as the model holds their weights under names of its own
        self.queries = queries

    def forward(self, states: Tensor, picture: Tensor, mask: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """States [R, Q + T, width], picture [R, N, image width] → [R, Q + T, width]."""
        layer, cross = self.parts
        branch, _ = layer.self_attn(hidden_states=layer.input_layernorm(states), attention_mask=mask, position_embeddings=rotary)
        states = states + branch
        if cross is not None:
            states = torch.cat([cross(states[:, : self.queries], picture), states[:, self.queries :]], dim=1)
        return states + layer.mlp(layer.post_attention_layernorm(states))


class GenerativeModel(nn.Module):
    """InternVL-G: a frozen stage-1 model, and the queries, cross-attention and heads that stage 2 trains around its LLaMA."""

    def __init__(self, stage1: ContrastiveModel, config: GenerativeConfig) -> None:
        super().__init__()
        width, image_width = stage1.config.text.width, stage1.config.image.width
        self.config, self.stage1 = config, stage1.requires_grad_(False)
        self.queries = nn.Parameter(torch.empty(1, config.queries, width))
        layers = range(0, stage1.config.text.depth, config.cross_every)
        eps = stage1.config.text.norm_eps
        cross = {i: CrossAttention(width, image_width, config.cross_heads, eps) for i in layers}
        self.cross = nn.ModuleDict({str(i): module for i, module in cross.items()})
        self.layers = nn.ModuleList(
            QueryLayer(layer, cross.get(i), config.queries) for i, layer in enumerate(stage1.text_tower.layers)
        )
        self.query_pool = AttentionPool(width, config.pool_heads, stage1.config.embedding)
        self.itm_head = nn.Linear(width, 2)
        self.logit_scale = nn.Parameter(stage1.logit_scale.detach().clone())
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random queries."""
        nn.init.normal_(self.queries, std=0.02)

    def train(self, mode: bool = True) -> GenerativeModel:
        """As nn.Module's, but the frozen stage 1 stays in evaluation mode, without drop path."""
        super().train(mode)
        self.stage1.eval()
        return self

    def forward(self, inputs: Pictures | Examples) -> Encoded | Outputs:
        """Both halves of a step, as DeepSpeed wraps one function: `encode` and `learn`."""
        return self.encode(inputs) if isinstance(inputs, Pictures) else self.learn(inputs)

    def encode(self, inputs: Pictures) -> Encoded:
        """The first half of a step, without gradient: the frozen towers, and the queries' features as they are now."""
        with torch.no_grad():
            picture = self.stage1.image_tower(inputs.images)
            image = unit(self.query_pool(self.decode(picture, None, None)))
            return Encoded(picture, image, self.encode_text(*inputs.prefixed), self._scale())

    def learn(self, inputs: Examples) -> Outputs:
        """The second half: all that the losses need, with gradient."""
        caption = inputs.caption.ids
        read = caption if self.stage1.config.text.begin else F.pad(caption, (1, -1), value=inputs.begin)
        length = read.shape[1]
        ids, lengths = (
            torch.cat([inputs.matched_caption.ids, read]),
            torch.cat([inputs.matched_caption.lengths, inputs.caption.lengths]),
        )
        mask = attention_masks(self.config.queries, lengths, length)
        itm, itg = self.decode(torch.cat([inputs.matched_picture, inputs.picture]), ids, mask).chunk(2)
        return Outputs(
            image=unit(self.query_pool(self.decode(inputs.picture, None, None))),
            scale=self._scale(),
            match_logits=self.itm_head(itm[:, : self.config.queries]).mean(dim=1),
            token_logits=itg[:, self.config.queries :] @ self.stage1.output_weights.T,
        )

    def _scale(self) -> Tensor:
        return self.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)

    def decode(self, picture: Tensor, ids: Tensor | None, mask: Tensor | None) -> Tensor:
        """LLaMA states [R, Q + T, width] of the queries and of the text, T = 0 without one.

        picture [R, N, image width], ids int64[R, T], mask bool[R, 1, Q + T, Q + T], true where a row may attend to a column.
        """
        llama = self.stage1.text_tower
        states = self.queries.to(picture.dtype).repeat(len(picture), 1, 1)
        if ids is not None:
            states = torch.cat([states, llama.embed_tokens(ids).to(states.dtype)], dim=1)
        return through_layers(llama, self.layers, states, picture, mask)

    def encode_image(self, images: Tensor) -> Tensor:
        """Images float[B, 3, H, W] → [B, embedding], L2-normalised: InternVL-G's image side."""
        return unit(self.query_pool(self.decode(self.stage1.image_tower(images), None, None)))

    def encode_text(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Stage 1's text feature [B, embedding]: text alone passes no cross-attention."""
        return self.stage1.encode_text(tokens, lengths)


def through_layers(llama: Any, layers: Iterable[nn.Module], states: Tensor, picture: Tensor, mask: Tensor | None) -> Tensor:
    """States [R, T, width] after QLLaMA's layers and its last norm; without a mask bool[R, 1, T, T] all see all."""
    positions = torch.arange(states.shape[1], device=states.device)[None]
    rotary = llama.rotary_emb(states, position_ids=positions)
    if mask is None:
        mask = torch.ones(1, 1, states.shape[1], states.shape[1], dtype=torch.bool, device=states.device)
    for layer in layers:
        states = layer(states, picture, mask, rotary)
    normed: Tensor = llama.norm(states)
    return normed


def attention_masks(queries: int, lengths: Tensor, text: int) -> Tensor:
    """Attention masks of the ITM and ITG passes: lengths int64[2 B] → bool[2 B, 1, Q + text, Q + text].

    True where the row attends to the column. The B rows of each pass follow each other; padding is never attended to.
    """
    position = torch.arange(queries + text, device=lengths.device)
    row, column = position[:, None], position[None, :]
    query_row, query_column = row < queries, column < queries
    itm = torch.ones_like(query_row & query_column)
    itg = torch.where(query_row, query_column, query_column | (column <= row))
    masks = torch.stack([itm, itg]).repeat_interleave(len(lengths) // 2, dim=0)
    not_padding = (position < queries) | (position - queries < lengths[:, None])
    return (masks & not_padding[:, None, :])[:, None]


def next_tokens(caption: Tokens, valid: Tensor, has_begin: bool = False) -> Tensor:
    """The labels of ITG: int64[B, T], IGNORED on padding and where a caption is not `valid` bool[B].

    Captions are read from their own [BOS] where each `has_begin`; else a token is put before them.
    """
    labels = F.pad(caption.ids, (-1, 1)) if has_begin else caption.ids
    is_text = torch.arange(labels.shape[1], device=labels.device) < caption.lengths[:, None] - int(has_begin)
    return torch.where(is_text & valid[:, None], labels, IGNORED)
