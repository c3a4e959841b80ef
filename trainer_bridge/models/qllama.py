"""QLLaMA: a stock LLaMA that attends to a picture through learned queries. Source: InternVL §3.2, BLIP-2.

The queries stand before the text tokens. Every second layer has a cross-attention, between self-attention and MLP, from the query
positions alone to InternViT's last hidden state. One forward holds the batch three times, a pass with an attention mask for each
loss:

    pass  queries attend to   text attends to            loss
    ITM   queries, text       queries, text              does the caption fit the picture?
    ITC   queries             earlier text               pooled queries against the text at [EOS]
    ITG   queries             queries and earlier text   the next token of the caption

Only queries, cross-attention, the second pooling head, the ITM head and the logit scale are trained.
"""

from __future__ import annotations

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


class Outputs(NamedTuple):
    """The inputs of the three losses. A tuple: in an object of another class ZeRO-3 would not see the tensors.

    image, text   ITC: features [B, embedding], L2-normalised
    scale         ITC: logit scale [1]
    match_logits  ITM: [B, 2]
    match_labels  ITM: int64[B], 1 where the caption is the picture's own, IGNORED where a part of the pair is not valid
    token_logits  ITG: [B, T, vocabulary]
    token_labels  ITG: int64[B, T], IGNORED on padding and captions that are not valid
    valid         bool[B]: the caption has a token besides [BOS] and [EOS]
    """

    image: Tensor
    text: Tensor
    scale: Tensor
    match_logits: Tensor
    match_labels: Tensor
    token_logits: Tensor
    token_labels: Tensor
    valid: Tensor


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
        self.queries = nn.Parameter(torch.randn(1, config.queries, width) * 0.02)
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

    def train(self, mode: bool = True) -> GenerativeModel:
        """As nn.Module's, but the frozen stage 1 stays in evaluation mode, without drop path."""
        super().train(mode)
        self.stage1.eval()
        return self

    def forward(self, images: Tensor, caption: Tokens, prefixed: Tokens, begin: int) -> Outputs:
        """Images float[B, 3, H, W]; captions, and captions with stage 1's prefix; the id that ITG's text begins with.

        `begin` is put before captions that have no [BOS] of their own.
        """
        with torch.no_grad():
            picture = self.stage1.image_tower(images)
            image_feature = unit(self.stage1.image_pool(picture))
            similarity = image_feature @ self.stage1.encode_text(prefixed.ids, prefixed.lengths).T
        scale = self.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
        image_index, caption_index, is_match = hard_negatives(similarity * scale.detach(), caption.ids)
        has_begin = 1 if self.stage1.config.text.begin else 0
        read, labels = (
            (caption.ids, F.pad(caption.ids, (-1, 1))) if has_begin else (F.pad(caption.ids, (1, -1), value=begin), caption.ids)
        )
        texts = [caption.ids[caption_index], prefixed.ids, read]
        lengths = torch.cat([caption.lengths[caption_index], prefixed.lengths, caption.lengths])
        longest = max(text.shape[1] for text in texts)
        ids = torch.cat([F.pad(text, (0, longest - text.shape[1])) for text in texts])
        mask = attention_masks(self.config.queries, lengths, longest)
        states = self.decode(torch.cat([picture[image_index], picture, picture]), ids, mask)
        (itm, _), (itc, itc_text), (_, itg) = (
            (part[:, : self.config.queries], part[:, self.config.queries :]) for part in states.chunk(3)
        )
        rows = torch.arange(images.shape[0], device=images.device)
        valid = caption.lengths > 1 + has_begin
        length = caption.ids.shape[1]
        is_text = torch.arange(length, device=ids.device) < caption.lengths[:, None] - has_begin
        return Outputs(
            image=unit(self.query_pool(itc)),
            text=unit(self.stage1.text_projection(itc_text[rows, prefixed.lengths - 1])),
            scale=scale,
            match_logits=self.itm_head(itm).mean(dim=1),
            match_labels=torch.where(valid & valid[caption_index] & valid[image_index], is_match.long(), IGNORED),
            token_logits=itg[:, :length] @ self.stage1.output_weights.T,
            token_labels=torch.where(is_text & valid[:, None], labels, IGNORED),
            valid=valid,
        )

    def decode(self, picture: Tensor, ids: Tensor | None, mask: Tensor | None) -> Tensor:
        """LLaMA states [R, Q + T, width] of the queries and of the text, T = 0 without one.

        picture [R, N, image width], ids int64[R, T], mask bool[R, 1, Q + T, Q + T], true where a row may attend to a column.
        """
        llama = self.stage1.text_tower
        states = self.queries.to(picture.dtype).expand(picture.shape[0], -1, -1)
        if ids is not None:
            states = torch.cat([states, llama.embed_tokens(ids).to(states.dtype)], dim=1)
        positions = torch.arange(states.shape[1], device=states.device)[None]
        rotary = llama.rotary_emb(states, position_ids=positions)
        if mask is None:
            mask = torch.ones(1, 1, states.shape[1], states.shape[1], dtype=torch.bool, device=states.device)
        for layer in self.layers:
            states = layer(states, picture, mask, rotary)
        return llama.norm(states)

    def encode_image(self, images: Tensor) -> Tensor:
        """Images float[B, 3, H, W] → [B, embedding], L2-normalised: InternVL-G's image side."""
        return unit(self.query_pool(self.decode(self.stage1.image_tower(images), None, None)))

    def encode_text(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Stage 1's text feature [B, embedding]: text alone passes no cross-attention."""
        return self.stage1.encode_text(tokens, lengths)


def attention_masks(queries: int, lengths: Tensor, text: int) -> Tensor:
    """Attention masks of the ITM, ITC and ITG passes: lengths int64[3 B] → bool[3 B, 1, Q + text, Q + text].

    True where the row attends to the column. The B rows of each pass follow each other; padding is never attended to.
    """
    length = queries + text
    position = torch.arange(length, device=lengths.device)
    row, column = position[:, None], position[None, :]
    query_row, query_column = row < queries, column < queries
    earlier_text = ~query_column & (column <= row)
    itm = torch.ones(length, length, dtype=torch.bool, device=lengths.device)
    itc = torch.where(query_row, query_column, earlier_text)
    itg = torch.where(query_row, query_column, query_column | earlier_text)
    masks = torch.stack([itm, itc, itg]).repeat_interleave(lengths.shape[0] // 3, dim=0)
    not_padding = (position < queries) | (position - queries < lengths[:, None])
    return (masks & not_padding[:, None, :])[:, None]


def hard_negatives(similarity: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs of the ITM pass: (image_index int64[B], caption_index int64[B], is_match bool[B]).

    `similarity` are logits [B, B] of picture i and caption j, `ids` int64[B, T] the captions. A third of the rows match, a third
    have another caption, a third another picture, drawn in proportion to the softmax of the logits among pairs whose captions
    differ. Source: BLIP-2 §3.1.
    """
    count = similarity.shape[0]
    rows = torch.arange(count, device=similarity.device)
    same = (ids[:, None] == ids[None]).all(dim=-1)
    similarity = similarity.float().masked_fill(same, -torch.inf)
    has_negative = ~same.all(dim=1)

    def draw(logits: Tensor) -> Tensor:
        odds = torch.where(has_negative[:, None], logits, 0.0).softmax(dim=1)
        return torch.multinomial(odds, 1).squeeze(1)

    caption, picture = draw(similarity), draw(similarity.T)
    role = torch.randint(3, (count,), device=similarity.device) * has_negative
    return torch.where(role == 2, picture, rows), torch.where(role == 1, caption, rows), role == 0
