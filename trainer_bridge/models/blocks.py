"""What every transformer has, whoever wrote it: repeated blocks, and embeddings that begin the stream through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

Checkpointing = Literal["none", "selective", "blocks"]

aten = torch.ops.aten
COSTLY = [  # whose results selective checkpointing keeps
    aten.mm.default,
    aten.addmm.default,
    aten.bmm.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
]


def blocks_of(model: nn.Module) -> Iterator[nn.Module]:
    """The transformer blocks of a model: the members of its ModuleLists."""
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            yield from module


def checkpoint_blocks(model: nn.Module, kind: Checkpointing) -> None:
    """Activation checkpointing: each block is computed again, with the same random numbers, when its gradient is.

    kind  blocks: only a block's input is kept; selective: the results of matrix products and attention too; none: everything
    """
    recomputed = {"blocks": _recompute_all, "selective": _recompute_cheap}
    for block in blocks_of(model) if kind != "none" else ():
        # In place of `forward`, so that hooks of the block itself, such as ZeRO-3's, run once.
        block.forward = partial(recomputed[kind], block.forward)


def _recompute_all(forward: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    return checkpoint(partial(_uncached, forward, **options), *inputs, use_reentrant=False)


def _recompute_cheap(forward: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    contexts = partial(create_selective_checkpoint_contexts, COSTLY)
    return checkpoint(partial(_uncached, forward, **options), *inputs, use_reentrant=False, context_fn=contexts)


def _uncached(forward: Callable[..., Any], states: Tensor, *inputs: Any, **options: Any) -> Any:
    """Runs a block without autocast's cache, which would keep a bf16 copy of its weights until the model's forward pass ends.

    And the second pass, which meets another cache, would not repeat the operations of the first.
    """
    kind = states.device.type
    with torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), cache_enabled=False):
        return forward(states, *inputs, **options)


def compile_blocks(model: nn.Module) -> None:
    """Compiles each transformer block when it is first used.

    Blocks of equal sizes share one compilation, so it takes no longer for a deep model.
    """
    for block in blocks_of(model):
        block.compile()


def embed_in_bf16(model: nn.Module) -> None:
    """Embeddings give bf16. Autocast leaves them float32, and with them all that the blocks add to and pass on."""

    def to_bf16(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return output.to(torch.bfloat16)

    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.register_forward_hook(to_bf16)
