"""What every transformer has, whoever wrote it: repeated blocks, and embeddings that begin the stream through them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def compile_blocks(model: nn.Module) -> None:
    """Compiles each transformer block, a member of a ModuleList, when it is first used.

    Blocks of equal sizes share one compilation, so it takes no longer for a deep model.
    """
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                block.compile()


def embed_in_bf16(model: nn.Module) -> None:
    """Embeddings give bf16. Autocast leaves them float32, and with them all that the blocks add to and pass on."""

    def to_bf16(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return output.to(torch.bfloat16)

    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.register_forward_hook(to_bf16)
