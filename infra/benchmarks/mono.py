"""Mono-InternVL: the routed FFN, the trainer beside a bare loop, and the directions of the paper's tables. Parts, for --only:

ffn         routed_vs_dense: seconds of both passes of the routed FFN over those of one dense FFN over the same tokens, float32,
            of SmolLM2-135M's sizes, `rows` tokens; four of five are image tokens, as in a picture of one tile with a caption.
            And milliseconds of each, and of both FFNs computed everywhere and chosen by a mask, as the released code has it
speed       vs_bare_loop: tokens/s of training the experts, from files, over those of the bare loop on batches in memory
directions  with a small language model that first reads the demo's sentences, and pictures of its stamps, over three seeds: each
            direction with its difference and spread, the losses of each variant, and what must hold to the bit

In turns, medians.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

TOKENS, TURNS, VISUAL = 1425, 15, 0.8
SIZES = {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3}


def measure(rows: int) -> dict[str, Any]:
    """All parts, one after the other; the FFN on `rows` tokens (0: 1 425)."""
    measured = [part(rows) for part in PARTS.values()]
    return {kind: {name: value for each in measured for name, value in each[kind].items()} for kind in ("figures", "ratios")}


def speed(rows: int) -> dict[str, Any]:
    """The trainer beside the bare loop; `rows` is not used."""
    from infra.benchmarks.mono_training.speed import measure_speed

    with _corpus(language_steps=1) as folder:
        rates = {name: round(rate, 3) for name, rate in measure_speed(folder).items()}
    return {"ratios": {"vs_bare_loop": rates.pop("vs_bare_loop")}, "figures": rates}


def directions(rows: int) -> dict[str, Any]:
    """The directions of the paper's tables; `rows` is not used."""
    from infra.benchmarks.mono_training.directions import run_seeds, table, told
    from infra.benchmarks.mono_training.language import STEPS

    with _corpus(STEPS) as folder:
        shown = told(run_seeds(folder))
    sys.stderr.write(table(shown))
    return {"figures": shown, "ratios": {}}


@contextmanager
def _corpus(language_steps: int) -> Iterator[Path]:
    """A folder with sentences, pictures, and a language model that was trained for so many steps."""
    from infra.benchmarks.mono_training.corpus import write_corpus
    from infra.benchmarks.mono_training.language import write_language

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "mono"
        write_corpus(folder)
        write_language(folder, language_steps)
        yield folder


def ffn(rows: int) -> dict[str, Any]:
    """Both passes of the routed FFN, of a dense one, and of both everywhere, on `rows` tokens (0: 1 425)."""
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
        "figures": {"tokens": tokens} | {f"{name}_ms": round(1000 * value, 2) for name, value in medians.items()},
        "ratios": {
            "routed_vs_dense": medians["routed"] / medians["dense"],
            "blended_vs_dense": medians["blended"] / medians["dense"],
        },
    }


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {"ffn": ffn, "speed": speed, "directions": directions}
