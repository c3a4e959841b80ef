"""Low-rank adapters of linear layers, by peft. Source: LoRA (arXiv 2106.09685).

The weight W of a layer stays as it is, and W + scale · B A is computed, of which B and A are trained.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from infra.compat.settings import Section

Part = Literal["language", "vision"]
LAYERS = {"language": "model.language_model.layers", "vision": "model.vision_tower.encoder.layer"}
BASE, A, B = ".base_layer.", ".lora_A.default.", ".lora_B.default."  # in the names of parameters


class LoraSettings(Section):
    """Adapters of all linear layers in the blocks of some modules, which are not trained otherwise.

    modules  "language", "vision", or both
    rank     columns of B
    alpha    the scale times the rank
    dropout  of an adapter's input, in training
    save     merged: the sums, as a model that knows of no adapter; adapter: it alone, and the projector, in peft's layout
    """

    modules: tuple[Part, ...] = Field(("language",), min_length=1)
    rank: int = Field(16, ge=1)
    alpha: float = Field(32.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    save: Literal["merged", "adapter"] = "merged"

    @property
    def scale(self) -> float:
        """What the product of B and A is multiplied with."""
        return self.alpha / self.rank


def lora_config(chat: nn.Module, settings: LoraSettings) -> Any:
    """The configuration of peft for an InternVL; ValueError in one line when peft is not installed."""
    try:
        from peft import LoraConfig
    except ImportError:
        raise ValueError("[lora] needs peft: pip install 'pairmill[lora]'") from None
    paths = [LAYERS[part] for part in settings.modules]
    linear = [name for name, module in chat.named_modules() if isinstance(module, nn.Linear) and name.startswith(tuple(paths))]
    leaves = sorted({name.rpartition(".")[2] for name in linear})
    pattern = rf"({'|'.join(map(re.escape, paths))})\..*\.({'|'.join(leaves)})"
    return LoraConfig(r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=pattern)


def add_lora(chat: nn.Module, settings: LoraSettings) -> Any:
    """Puts adapters into an InternVL with all its data, which start as no change; returns peft's configuration."""
    config = lora_config(chat, settings)
    from peft import inject_adapter_in_model

    inject_adapter_in_model(config, chat)
    return config


def merged(state: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """The tensors of the model without adapters, which computes the same."""
    result = {}
    for name, tensor in state.items():
        if ".lora_" in name:
            continue
        plain = name.replace(BASE, ".")
        down = state.get(plain.replace(".weight", f"{A}weight")) if BASE in name and name.endswith(".weight") else None
        if down is not None:
            up = state[plain.replace(".weight", f"{B}weight")]
            tensor = (tensor.float() + scale * (up.float() @ down.float())).to(tensor.dtype)
        result[plain] = tensor
    return result
