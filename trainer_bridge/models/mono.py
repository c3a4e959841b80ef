"""Mono-InternVL: one language model that sees, each of its feed-forward networks (FFNs) with a twin for image tokens.

pixels → patches of 14 px + positions → 2 x 2 patches to one token → MLP → at the places of <IMG_CONTEXT> → language model

Any causal language model of transformers whose decoder layers have `mlp` will do. Attention, norms, embeddings and head serve
both kinds of token, and attention is causal inside a picture too. A token passes through one FFN: rows of each kind are gathered,
so that text alone is computed as by the language model itself, to the bit. Source: Mono-InternVL §3.1 and its released code.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from infra.compat.settings import Section
from trainer_bridge.models.internvit import Patches, resize_positions
from trainer_bridge.models.sequence_loss import SequenceLoss

MERGED = 2  # patches a side that become one token
VISUAL = "visual"  # in the names of parameters that only image tokens pass


class PictureConfig(Section):
    """Sizes of the patch embedding. Mono-InternVL-2B: tiles of 448 px, patches of 14, width 1024 (inferred from its size).

    experts  each FFN has a twin for image tokens; else they pass that of the text, as the paper's baseline without experts
    """

    image_size: int = Field(448, ge=1)
    patch: int = Field(14, ge=1)
    width: int = Field(1024, ge=1)
    experts: bool = True

    @property
    def tokens(self) -> int:
        """Image tokens of a tile."""
        return (self.image_size // self.patch // MERGED) ** 2


class Pictures(nn.Module):
    """Patch embedding, learned positions and the MLP into the language model's width.

    The class token of the released layout is kept and has no part in anything: no encoder follows.
    """

    def __init__(self, config: PictureConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.grid = config.image_size // config.patch
        if self.grid * config.patch != config.image_size or self.grid % MERGED:
            raise ValueError(
                f"model.picture.image_size = {config.image_size} is no multiple of {MERGED * config.patch}; choose one"
            )
        self.patches = Patches(3, config.width, config.patch, stride=config.patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, config.width))
        self.positions = nn.Parameter(torch.empty(1, 1 + self.grid**2, config.width))
        inner = MERGED**2 * config.width
        self.connector = nn.Sequential(nn.LayerNorm(inner), nn.Linear(inner, width), nn.GELU(), nn.Linear(width, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Class token and positions from N(0, 1), as released."""
        nn.init.normal_(self.class_token)
        nn.init.normal_(self.positions)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels float32[N, 3, H, W] → [N, H · W / (4 · patch²), width of the language model], row after row."""
        patches = self.patches(pixels)
        rows, columns = patches.shape[2:]
        positions = resize_positions(self.positions, rows, columns)[:, 1:].to(patches.dtype)
        tokens = patches.flatten(2).transpose(1, 2) + positions
        return self.connector(_merged(tokens.unflatten(1, (rows, columns))))


def _merged(grid: Tensor) -> Tensor:
    """[N, H, W, C] → [N, H · W / 4, 4 C]: squares of 2 x 2 patches as one token, row after row within too."""
    squares = grid.unflatten(1, (-1, MERGED)).unflatten(3, (-1, MERGED))
    return squares.permute(0, 1, 3, 2, 4, 5).flatten(3).flatten(1, 2)


class Routing:
    """Which rows of the current forward pass are image tokens; one object that all layers of a model share.

    It holds until the next pass, so that blocks which are computed again in the backward pass route as before.
    """

    def __init__(self) -> None:
        self.visual: Tensor | None = None
        self.text: Tensor | None = None

    def route(self, is_visual: Tensor | None) -> None:
        """is_visual bool[B, T]: the image tokens; None: text alone."""
        if is_visual is None:
            self.visual = self.text = None
        else:
            flat = is_visual.flatten()
            self.visual, self.text = flat.nonzero().squeeze(1), (~flat).nonzero().squeeze(1)


class TwinFFN(nn.Module):
    """The FFN of a decoder layer, and its twin for image tokens, which starts as a copy of it."""

    def __init__(self, text: nn.Module, routing: Routing) -> None:
        super().__init__()
        self.text, self.visual = text, copy.deepcopy(text)
        self.routing = routing

    def forward(self, states: Tensor) -> Tensor:
        """[B, T, D] → the same shape; each token through one of the two."""
        if self.routing.visual is None or self.routing.text is None:
            return self.text(states)
        rows = states.flatten(0, -2)
        # Both are called even without a token: a rank whose samples are all text has gradients of zero, as the others expect.
        visual, text = self.visual(rows[self.routing.visual]), self.text(rows[self.routing.text])
        mixed = torch.empty((len(rows), text.shape[-1]), dtype=text.dtype, device=text.device)
        mixed = mixed.index_copy(0, self.routing.visual, visual).index_copy(0, self.routing.text, text)
        return mixed.view(*states.shape[:-1], -1)


class MonoModel(nn.Module):
    """Pictures and a language model with twin FFNs; `language` is a causal language model of transformers."""

    def __init__(self, config: PictureConfig, language: Any, image_token: int) -> None:
        super().__init__()
        self.config, self.image_token = config, image_token
        self.pictures = Pictures(config, language.config.hidden_size)
        self.language, self.routing = language, Routing()
        for layer in language.model.layers if config.experts else ():
            layer.mlp = TwinFFN(layer.mlp, self.routing)

    def embed(self, ids: Tensor, pixels: Tensor) -> Tensor:
        """Embeddings [B, T, D] of ids int64[B, T], with tiles float32[N, 3, S, S], in order, at the places of the image token.

        ValueError when there are more or fewer places than image tokens.
        """
        words = self.language.get_input_embeddings()(ids)
        is_visual = ids == self.image_token
        if not len(pixels):
            if is_visual.any():
                raise ValueError("a text has places for image tokens, but no picture")
            return words + self._nothing_seen(pixels) if self.training else words
        tokens = self.pictures(pixels).flatten(0, 1)
        if len(tokens) != int(is_visual.sum()):
            raise ValueError(f"{len(tokens)} image tokens for {int(is_visual.sum())} places; give each picture its places")
        return words.masked_scatter(is_visual[..., None], tokens.to(words.dtype))

    def _nothing_seen(self, pixels: Tensor) -> Tensor:
        """Zero, from a black picture: ranks gather weights, and sum gradients, of the same modules in the same order."""
        return 0 * self.pictures(pixels.new_zeros(1, *pixels.shape[1:])).sum()

    def forward(self, ids: Tensor, pixels: Tensor, **options: Any) -> Tensor:
        """Last hidden states [B, T, D] of ids int64[B, T] and tiles float32[N, 3, S, S]; padding comes last.

        options  for the language model: position_ids, attention_mask, past_key_values
        """
        embedded = self.embed(ids, pixels)
        # In training text alone is routed too, so that all parameters have a gradient on every rank.
        routed = ids == self.image_token if len(pixels) or self.training else None
        return self._states(embedded, routed, **options)

    def _states(self, embedded: Tensor, is_visual: Tensor | None, **options: Any) -> Tensor:
        self.routing.route(is_visual if self.config.experts else None)
        output = self.language.model(inputs_embeds=embedded, **{"use_cache": False} | options)
        return output.last_hidden_state

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def generate(self, ids: Tensor, pixels: Tensor, most: int, ends: Iterable[int], chunk: int = 0) -> list[int]:
        """The likeliest next token, again and again: at most `most` ids after ids int64[1, T], up to one of `ends`.

        chunk  tokens of the prompt that pass at once, each by the FFN of its kind; 0: all. Written text passes that of the text.
        """
        from transformers import DynamicCache

        cache, stop = DynamicCache(config=self.language.config), set(ends)
        embedded, is_visual = self.embed(ids, pixels), ids == self.image_token
        for start in range(0, ids.shape[1], chunk or ids.shape[1]):
            part = slice(start, start + (chunk or ids.shape[1]))
            routed = is_visual[:, part] if is_visual[:, part].any() else None
            states = self._states(embedded[:, part], routed, past_key_values=cache, use_cache=True)
        written: list[int] = []
        while True:
            token = self.language.lm_head(states[:, -1:]).argmax(-1)
            written.append(int(token))
            if written[-1] in stop or len(written) >= most:
                return written
            states = self._states(self.language.get_input_embeddings()(token), None, past_key_values=cache, use_cache=True)


class MonoLoss(SequenceLoss):
    """A MonoModel and its loss on answers."""

    def __init__(self, model: MonoModel) -> None:
        super().__init__()
        self.mono = model

    @property
    def head(self) -> nn.Module:
        """What gives logits of states."""
        head: nn.Module = self.mono.language.lm_head
        return head

    def states(self, ids: Tensor, pixels: Tensor, **options: Any) -> Tensor:
        """As of `SequenceLoss`."""
        states: Tensor = self.mono(ids, pixels, **options)
        return states
