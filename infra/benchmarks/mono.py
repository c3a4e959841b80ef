"""Mono-InternVL: the FFN that routes each token beside one dense FFN over the same tokens.

    routed_vs_dense  seconds of both passes of the routed FFN over those of one dense FFN, float32, in turns, medians

Of SmolLM2-135M's sizes, or of `rows` tokens; four of five tokens are image tokens, as in a picture of one tile with a caption.
And figures: milliseconds of each, and of both FFNs computed everywhere and chosen by a mask, as the released code has it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

TOKENS, TURNS, VISUAL = 1425, 15, 0.8
SIZES = {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3}


def measure(rows: int) -> dict[str, Any]:
    """Measures on `rows` tokens (0: 1 425)."""
    from infra.compat.torchvision_operators import define_missing_operators
    from trainer_bridge.models.mono import Routing, TwinFFN

    define_missing_operators()
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaMLP

    tokens = rows or TOKENS
    routing, dense = Routing(), LlamaMLP(LlamaConfig(**SIZES))
    twin = TwinFFN(LlamaMLP(LlamaConfig(**SIZES)), routing)
    states = torch.randn(1, tokens, SIZES["hidden_size"], requires_grad=True)
    is_visual = torch.arange(tokens)[None] < int(VISUAL * tokens)

    def blended(x: torch.Tensor) -> torch.Tensor:
        return torch.where(is_visual[..., None], twin.visual(x), twin.text(x))

    def routed(x: torch.Tensor) -> torch.Tensor:
        routing.route(is_visual)
        return twin(x)

    works: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"dense": dense, "routed": routed, "blended": blended}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(TURNS + 1):
        for name, work in works.items():
            started = time.perf_counter()
            work(states).sum().backward()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(each[1:]) for name, each in seconds.items()}
    return {
        "tokens": tokens,
        "figures": {f"{name}_ms": round(1000 * value, 2) for name, value in medians.items()},
        "ratios": {
            "routed_vs_dense": medians["routed"] / medians["dense"],
            "blended_vs_dense": medians["blended"] / medians["dense"],
        },
    }
