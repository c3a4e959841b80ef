"""InternViT: a pre-norm vision transformer with layer scale; InternViT-6B has RMSNorm and QK normalisation.

By its settings it is InternViT-300M (LayerNorm, QKV bias), or CLIP's ViT (a norm before the first block) too. Source: InternVL
§3.1 and its released code; CLIP.

Images are float[B, 3, H, W]; tokens are float[B, 1 + N, width], the class token first, N = (H / patch) · (W / patch).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from infra.compat.settings import Section
from trainer_bridge.models.draws import seeds_of, uniform


class InternViTConfig(Section):
    """Sizes of the encoder. InternViT-6B: width 3200, depth 48, heads 25, mlp 12800, patch 14.

    norm         RMSNorm, or LayerNorm with bias, as InternViT-300M and CLIP have
    qkv_bias     a bias on queries, keys and values
    qk_norm      RMSNorm of queries and keys
    pre_norm     a norm of all tokens before the first block, as CLIP has
    layer_scale  the scales of both branches at the start
    """

    image_size: int = Field(224, ge=1)
    patch: int = Field(14, ge=1)
    width: int = Field(3200, ge=1)
    depth: int = Field(48, ge=1)
    heads: int = Field(25, ge=1)
    mlp: int = Field(12800, ge=1)
    drop_path: float = Field(0.0, ge=0, lt=1)
    drop_path_schedule: Literal["linear", "uniform"] = "linear"
    layer_scale: float = 0.1
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: float = Field(1e-6, gt=0)
    qkv_bias: bool = False
    qk_norm: bool = True
    pre_norm: bool = False
    activation: Literal["gelu", "quick_gelu"] = "gelu"


class RMSNorm(nn.RMSNorm):
    """torch's, in the precision of its input. Autocast would read and write float32 around the same kernel, which sums in it."""

    def forward(self, x: Tensor) -> Tensor:
        """x[…, width] → the same shape and precision."""
        if not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class LayerNorm(nn.LayerNorm):
    """torch's, in the precision of its input, for the same reason."""

    def forward(self, x: Tensor) -> Tensor:
        """x[…, width] → the same shape and precision."""
        if not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def new_norm(config: InternViTConfig) -> nn.Module:
    """The norm that the configuration names, over the width."""
    kind = RMSNorm if config.norm == "rms" else LayerNorm
    return kind(config.width, eps=config.norm_eps)


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), the GELU of OpenAI's CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape → the same."""
        return x * torch.sigmoid(1.702 * x)


class Linear(nn.Linear):
    """torch's, initialised as BEiT does: weights from a truncated normal of deviation `std`, biases 0."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True, std: float = 0.02) -> None:
        self.std = std  # torch initialises in the next line
        super().__init__(inputs, outputs, bias=bias)

    def reset_parameters(self) -> None:
        """Random weights."""
        nn.init.trunc_normal_(self.weight, std=self.std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Patches(nn.Conv2d):
    """The patch embedding, initialised as BEiT does."""

    def reset_parameters(self) -> None:
        """Random weights."""
        nn.init.trunc_normal_(self.weight, std=0.02)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Attention(nn.Module):
    """Self-attention; with `qk_norm` queries and keys are RMS-normalised over the full width, before the heads."""

    def __init__(self, config: InternViTConfig, out_std: float) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = Linear(config.width, 3 * config.width, bias=config.qkv_bias)
        self.q_norm, self.k_norm = (
            RMSNorm(config.width, eps=config.norm_eps) if config.qk_norm else nn.Identity() for _ in range(2)
        )
        self.out = Linear(config.width, config.width, std=out_std)

    def forward(self, tokens: Tensor, first: int | None = None) -> Tensor:
        """tokens[B, T, width] → [B, T, width], or of the `first` tokens alone."""
        q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        q, k, v = (split_heads(x, self.heads) for x in (self.q_norm(q[:, :first]), self.k_norm(k), v))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def require_heads(width: int, heads: int, setting: str) -> None:
    """ValueError, which names the setting, where a width does not divide among the heads."""
    if width % heads:
        raise ValueError(f"{setting} = {heads} does not divide the width, {width}; choose one that does")


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, T, heads · D] → [B, heads, T, D]."""
    require_heads(x.shape[-1], heads, "the number of heads (model.image.heads, pool_heads or cross_heads)")
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Attention and MLP, each behind a norm, layer scale and drop path; `layer` is its number, from 1."""

    def __init__(self, config: InternViTConfig, layer: int, drop_path: float) -> None:
        super().__init__()
        width, out_std = config.width, 0.02 / math.sqrt(2 * layer)  # BEiT's
        self.layer_scale, self.drop_path = config.layer_scale, drop_path
        self.attention_norm = new_norm(config)
        self.attention = Attention(config, out_std)
        self.attention_scale = nn.Parameter(torch.empty(width))
        self.mlp_norm = new_norm(config)
        activation = nn.GELU() if config.activation == "gelu" else QuickGELU()
        self.mlp = nn.Sequential(Linear(width, config.mlp), activation, Linear(config.mlp, width, std=out_std))
        self.mlp_scale = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The scales at the start."""
        nn.init.constant_(self.attention_scale, self.layer_scale)
        nn.init.constant_(self.mlp_scale, self.layer_scale)

    def forward(self, tokens: Tensor, seeds: Tensor | None = None, first: int | None = None) -> Tensor:
        """tokens[B, T, width] → [B, T, width], or of the `first` tokens alone.

        Where paths are dropped, by the samples' seeds int64[B].
        """
        # Under autocast tokens are bf16; times a float32 scale they would be float32 from here on.
        attention_scale, mlp_scale = self.attention_scale.to(tokens.dtype), self.mlp_scale.to(tokens.dtype)
        branch = self.attention(self.attention_norm(tokens), first) * attention_scale
        tokens = tokens[:, :first] + self._drop(branch, seeds, 0)
        return tokens + self._drop(self.mlp(self.mlp_norm(tokens)) * mlp_scale, seeds, 1)

    def _drop(self, branch: Tensor, seeds: Tensor | None, place: int) -> Tensor:
        """Drop path: zeroes the branch of random samples in training, and scales the others to keep its mean."""
        if not self.training or self.drop_path == 0 or seeds is None:
            return branch
        keep = uniform(seeds_of(place, seeds), 1)[:, :, None] >= self.drop_path
        return branch * keep / (1 - self.drop_path)


class InternViT(nn.Module):
    """The encoder: images float[B, 3, H, W] → tokens float[B, 1 + N, width], without a final norm, as InternVL's heads expect."""

    def __init__(self, config: InternViTConfig) -> None:
        super().__init__()
        self.config = config
        grid = config.image_size // config.patch
        self.patches = Patches(3, config.width, config.patch, stride=config.patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, config.width))
        self.positions = nn.Parameter(torch.empty(1, 1 + grid * grid, config.width))
        self.pre_norm = new_norm(config) if config.pre_norm else nn.Identity()
        rates = [
            config.drop_path * (i / max(1, config.depth - 1) if config.drop_path_schedule == "linear" else 1)
            for i in range(config.depth)
        ]
        self.blocks = nn.ModuleList(Block(config, layer, rate) for layer, rate in enumerate(rates, start=1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random class token and positions, as in BEiT."""
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, images: Tensor, drop_tokens: float = 0.0, seeds: Tensor | None = None, first: int | None = None) -> Tensor:
        """[B, 3, H, W] → [B, 1 + N, width]; a random share `drop_tokens` of each image's patch tokens is left out, not zeroed.

        With `first` so many tokens come out, the class token first: the last block does not compute what nobody reads.
        `seeds` int64[B] of the samples decide which tokens, and in training which paths; without them torch's generator does.
        """
        if seeds is None and (self.training or drop_tokens > 0):
            seeds = torch.randint(2**62, (len(images),), device=images.device)
        patches = self.patches(images)
        # Under autocast patches are bf16: what is added to them must be too, or every block reads and writes float32.
        positions = self.positions_for(patches.shape[-2], patches.shape[-1]).to(patches.dtype)
        tokens = patches.flatten(2).transpose(1, 2) + positions[:, 1:]
        if drop_tokens > 0 and seeds is not None:
            tokens = random_subset(tokens, drop_tokens, seeds)
        of_class = (self.class_token.to(positions.dtype) + positions[:, :1]).expand(tokens.shape[0], -1, -1)
        tokens = self.pre_norm(torch.cat([of_class, tokens], dim=1))
        for number, block in enumerate(self.blocks, start=1):
            read = first if number == len(self.blocks) else None
            tokens = block(tokens, None if seeds is None else seeds_of(number, seeds), read)
        return tokens

    def positions_for(self, rows: int, columns: int) -> Tensor:
        """The position embeddings, resized bicubically where the grid is another: [1, 1 + rows · columns, width]."""
        return resize_positions(self.positions, rows, columns)


def resize_positions(positions: Tensor, rows: int, columns: int) -> Tensor:
    """Position embeddings [1, 1 + N, width] of a square grid, the class token's first → [1, 1 + rows · columns, width]."""
    grid = math.isqrt(positions.shape[1] - 1)
    if (rows, columns) == (grid, grid):
        return positions
    square = positions[:, 1:].unflatten(1, (grid, grid)).permute(0, 3, 1, 2)
    resized = F.interpolate(square.float(), (rows, columns), mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], resized.to(square.dtype).flatten(2).transpose(1, 2)], dim=1)


def random_subset(tokens: Tensor, drop: float, seeds: Tensor) -> Tensor:
    """A random subset of each image's tokens, in their order, without a share `drop`: [B, N, width] → [B, M, width]."""
    _, count, width = tokens.shape
    kept = max(1, round(count * (1 - drop)))
    order = uniform(seeds, count).argsort(dim=1, stable=True)[:, :kept].sort(dim=1).values
    return tokens.gather(1, order[:, :, None].expand(-1, -1, width))
