"""Causal attention within the samples of a packed sequence, by the names and shapes of transformers' attention functions.

The borders of the samples reach it as `cu_seq_lens_q`, as they do FlashAttention's. Without them it is torch's own attention, so
a language model may use it for everything: it is chosen once, for training, evaluation and generation.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from infra.compat.torchvision_operators import define_missing_operators

NAME = "pairmill_packed"
HALF = (torch.bfloat16, torch.float16)


def use_packed_attention(language: Any, length: int) -> None:
    """Has a language model of transformers attend within samples of at most `length` tokens.

    ValueError in one line when its attention is of another kind.
    """
    define_missing_operators()
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    config = language.config
    window = getattr(config, "sliding_window", None) or length
    if window < length and "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"]):
        raise ValueError(
            f"a language model with a sliding window of {window} tokens cannot be packed; lower model.length to that"
        )
    if config._attn_implementation not in ("sdpa", NAME):
        raise ValueError(
            f"a language model of type {config.model_type} has an attention of its own and cannot be packed; leave [packing] out"
        )
    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    language.set_attn_implementation(NAME)


def packed_options(positions: Tensor | None, ends: Tensor | None, longest: int) -> dict[str, Any]:
    """The options of a language model's forward pass over a packed sequence, as `Sequences` has it; none over others."""
    if ends is None:
        return {}
    # Attention goes by the ends alone; a mask of four dimensions keeps transformers from making one.
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=ends.device)
    return {"position_ids": positions, "cu_seq_lens_q": ends, "max_length_q": longest, "attention_mask": mask}


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int = 0,
    **options: Any,
) -> tuple[Tensor, None]:
    """query[B, H, T, D], key and value[B, K, T, D] → [B, T, H, D].

    cu_seq_lens_q  int32[S + 1], B = 1: where each of the S samples begins, and T
    max_length_q   tokens of the longest
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if cu_seq_lens_q is None:
        attended: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return attended
    scale, dropout = options.get("scaling"), options.get("dropout", 0.0)
    if query.is_cuda and query.dtype in HALF and not dropout:
        return _by_kernel(query, key, value, cu_seq_lens_q, max_length_q, scale), None
    attention = partial(F.scaled_dot_product_attention, dropout_p=dropout, is_causal=True, scale=scale, enable_gqa=True)
    borders = pairwise(cu_seq_lens_q.tolist())
    parts = [attention(*(x[:, :, start:end] for x in (query, key, value))) for start, end in borders]
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _by_kernel(query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int, scale: float | None) -> Tensor:
    """The same by FlashAttention's kernel for sequences of any lengths, which torch has for GPUs."""
    from torch.nn.attention.varlen import varlen_attn

    rows = (x[0].transpose(0, 1) for x in (query, key, value))
    causal = (-1, 0)
    attended: Tensor = varlen_attn(*rows, ends, ends, longest, longest, scale=scale, window_size=causal, enable_gqa=True)
    return attended[None]
