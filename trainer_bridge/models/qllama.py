"""QLLaMA: a stock LLaMA that looks at a picture through learned queries. Source: InternVL §3.2, BLIP-2.

The queries stand before the text tokens. Every second layer has a cross-attention on the query positions alone, between
self-attention and MLP, to InternViT's last hidden state. One forward carries three copies of the batch, each with a mask and a
loss of its own:

    ITM   queries and text see each other              does the caption fit the picture?
    ITC   queries see queries, text sees earlier text  pooled queries against the text at [EOS]
    ITG   queries see queries, text sees all queries   the next token of the caption
          and earlier text

Only queries, cross-attention, the second pooling head, the ITM head and the logit scale are trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from trainer_bridge.models.contrastive import MAX_LOGIT_SCALE, AttentionPool, ContrastiveModel
from trainer_bridge.models.internvit import split_heads
from trainer_bridge.models.losses import IGNORED


class GenerativeConfig(BaseModel):
    """Sizes of what stage 2 adds. InternVL: 96 queries, cross-attention in every second layer, 16 pooling heads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queries: int = Field(96, ge=1)
    cross_every: int = Field(2, ge=1)
    cross_heads: int = Field(32, ge=1)
    pool_heads: int = Field(16, ge=1)


@dataclass(frozen=True)
class Tokens:
    """Captions: ids int64[B, T] padded at the end, lengths int64[B] with [EOS] counted."""

    ids: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class Outputs:
    """What the three losses need.

    image, text, scale  ITC: features [B, embedding], L2-normalised; the logit scale
    match, matched      ITM: logits [B, 2]; labels int64[B], 1 where the caption is the picture's own
    tokens, targets     ITG: logits [B, T, vocabulary]; labels int64[B, T]
    some                bool[B]: the caption has a token besides [EOS]; others count in no loss
    """

    image: Tensor
    text: Tensor
    scale: Tensor
    match: Tensor
    matched: Tensor
    tokens: Tensor
    targets: Tensor
    some: Tensor


class CrossAttention(nn.Module):
    """Queries [B, Q, width] look at picture tokens [B, N, image width], RMSNorm on both; what they see is added to them."""

    def __init__(self, width: int, image_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_norm, self.kv_norm = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(image_width, eps=1e-6)
        self.q = nn.Linear(width, width, bias=False)
        self.k, self.v = (nn.Linear(image_width, width, bias=False) for _ in range(2))
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, picture: Tensor) -> Tensor:
        """[B, Q, width], [B, N, image width] → [B, Q, width]."""
        seen = self.kv_norm(picture)
        q, k, v = (split_heads(x, self.heads) for x in (self.q(self.q_norm(queries)), self.k(seen), self.v(seen)))
        return queries + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class GenerativeModel(nn.Module):
    """InternVL-G: a frozen stage-1 model, and what stage 2 trains around its LLaMA."""

    def __init__(self, stage1: ContrastiveModel, config: GenerativeConfig) -> None:
        super().__init__()
        width, image_width = stage1.config.text.width, stage1.config.image.width
        self.config, self.stage1 = config, stage1.requires_grad_(False)
        self.queries = nn.Parameter(torch.randn(1, config.queries, width) * 0.02)
        layers = range(0, stage1.config.text.depth, config.cross_every)
        self.cross = nn.ModuleDict({str(i): CrossAttention(width, image_width, config.cross_heads) for i in layers})
        self.query_pool = AttentionPool(width, config.pool_heads, stage1.config.embedding)
        self.itm_head = nn.Linear(width, 2)
        self.logit_scale = nn.Parameter(stage1.logit_scale.detach().clone())

    def train(self, mode: bool = True) -> GenerativeModel:
        """As nn.Module's, but the frozen model stays in evaluation mode: no drop path in it."""
        super().train(mode)
        self.stage1.eval()
        return self

    def forward(self, images: Tensor, caption: Tokens, prefixed: Tokens, begin: int) -> Outputs:
        """Images float[B, 3, H, W]; captions, and captions with the contrastive prefix; the token a text begins with."""
        with torch.no_grad():
            picture = self.stage1.image_tower(images)
            alike = (
                F.normalize(self.stage1.image_pool(picture), dim=-1) @ self.stage1.encode_text(prefixed.ids, prefixed.lengths).T
            )
        scale = self.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
        which, said, matched = hard_negatives(alike * scale.detach(), caption.ids)
        begun = F.pad(caption.ids, (1, -1), value=begin)
        texts = [caption.ids[said], prefixed.ids, begun]
        lengths = torch.cat([caption.lengths[said], prefixed.lengths, caption.lengths])
        longest = max(text.shape[1] for text in texts)
        ids = torch.cat([F.pad(text, (0, longest - text.shape[1])) for text in texts])
        mask = attention_masks(self.config.queries, lengths, longest)
        states = self.decode(torch.cat([picture[which], picture, picture]), ids, mask)
        (itm, _), (itc, itc_text), (_, itg) = (
            (part[:, : self.config.queries], part[:, self.config.queries :]) for part in states.chunk(3)
        )
        rows = torch.arange(images.shape[0], device=images.device)
        some = caption.lengths > 1
        width = caption.ids.shape[1]
        real = torch.arange(width, device=ids.device) < caption.lengths[:, None]
        return Outputs(
            image=F.normalize(self.query_pool(itc), dim=-1),
            text=F.normalize(self.stage1.text_projection(itc_text[rows, prefixed.lengths - 1]), dim=-1),
            scale=scale,
            match=self.itm_head(itm).mean(dim=1),
            matched=torch.where(some & some[said], matched.long(), IGNORED),
            tokens=itg[:, :width] @ self.stage1.text_tower.embed_tokens.weight.T,
            targets=torch.where(real & some[:, None], caption.ids, IGNORED),
            some=some,
        )

    def decode(self, picture: Tensor, ids: Tensor | None, mask: Tensor | None) -> Tensor:
        """LLaMA states of the queries, and of text where there is one: picture [R, N, image width], ids int64[R, T], mask
        bool[R, 1, Q + T, Q + T] (true: may see) → [R, Q + T, width].
        """
        llama = self.stage1.text_tower
        states = self.queries.expand(picture.shape[0], -1, -1)
        if ids is not None:
            states = torch.cat([states, llama.embed_tokens(ids).to(states.dtype)], dim=1)
        positions = torch.arange(states.shape[1], device=states.device)[None]
        rotary = llama.rotary_emb(states, position_ids=positions)
        if mask is None:
            mask = torch.ones(1, 1, states.shape[1], states.shape[1], dtype=torch.bool, device=states.device)
        for index, layer in enumerate(llama.layers):
            cross = self.cross[str(index)] if index % self.config.cross_every == 0 else None
            states = self._layer(layer, cross, states, picture, mask, rotary)
        normalised: Tensor = llama.norm(states)
        return normalised

    def _layer(self, layer: Any, cross: nn.Module | None, states: Tensor, picture: Tensor, mask: Tensor, rotary: Any) -> Tensor:
        """A stock decoder layer with the cross-attention between its halves."""
        seen, _ = layer.self_attn(hidden_states=layer.input_layernorm(states), attention_mask=mask, position_embeddings=rotary)
        states = states + seen
        if cross is not None:
            count = self.config.queries
            states = torch.cat([cross(states[:, :count], picture), states[:, count:]], dim=1)
        made: Tensor = states + layer.mlp(layer.post_attention_layernorm(states))
        return made

    def encode_image(self, images: Tensor) -> Tensor:
        """Images float[B, 3, H, W] → [B, embedding], L2-normalised: InternVL-G's image side."""
        return F.normalize(self.query_pool(self.decode(self.stage1.image_tower(images), None, None)), dim=-1)

    def encode_text(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """As stage 1: text alone passes no cross-attention."""
        return self.stage1.encode_text(tokens, lengths)


def attention_masks(queries: int, lengths: Tensor, text: int) -> Tensor:
    """Who may see whom in the ITM, ITC and ITG copies: lengths int64[3 B] → bool[3 B, 1, Q + text, Q + text], true: may see."""
    length = queries + text
    place = torch.arange(length, device=lengths.device)
    asks, seen = place[:, None], place[None, :]
    is_query, query_seen = asks < queries, seen < queries
    earlier = ~query_seen & (seen <= asks)
    everything = torch.ones(length, length, dtype=torch.bool, device=lengths.device)
    apart = torch.where(is_query, query_seen, earlier)
    captioning = torch.where(is_query, query_seen, query_seen | earlier)
    masks = torch.stack([everything, apart, captioning]).repeat_interleave(lengths.shape[0] // 3, dim=0)
    real = (place < queries) | (place - queries < lengths[:, None])
    return (masks & real[:, None, :])[:, None]


def hard_negatives(alike: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which picture meets which caption in the ITM copy: (picture int64[B], caption int64[B], right bool[B]).

    `alike` are logits [B, B] of picture i and caption j. A third of the rows are right, a third get a wrong caption, a third a
    wrong picture, drawn in proportion to the softmax of the logits among those whose words differ. Source: BLIP-2 §3.1.
    """
    count = alike.shape[0]
    rows = torch.arange(count, device=alike.device)
    same = (ids[:, None] == ids[None]).all(dim=-1)
    alike = alike.float().masked_fill(same, -torch.inf)
    able = ~same.all(dim=1)
    odds = torch.where(able[:, None], alike, 0.0)
    caption = torch.multinomial(odds.softmax(dim=1), 1).squeeze(1)
    picture = torch.multinomial(torch.where(able[:, None], alike.T, 0.0).softmax(dim=1), 1).squeeze(1)
    role = torch.randint(3, (count,), device=alike.device) * able
    which = torch.where(role == 2, picture, rows)
    said = torch.where(role == 1, caption, rows)
    return which, said, role == 0
