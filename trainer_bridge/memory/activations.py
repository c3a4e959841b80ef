"""What a step on one micro-batch holds at most, by a rehearsal on tensors without data.

torch's fake tensors have shapes, types and lifetimes, but no numbers. A forward and a backward pass on them runs all operations
of the real one, with its precision and checkpointing, so that counting their bytes gives the peak without a formula for any
model.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from trainer_bridge.memory.live import LiveBytes
from trainer_bridge.models.blocks import Checkpointing, checkpoint_blocks, embed_in_bf16


def activation_bytes(
    model: nn.Module, loss: Callable[[nn.Module], Tensor], checkpointing: Checkpointing, *, in_bf16: bool
) -> int:
    """Peak bytes of a forward and a backward pass beside the parameters and their gradients.

    `model`, on the meta device, is used up; `loss` runs it on a micro-batch.
    """
    with FakeTensorMode():
        _fake(model)
        if in_bf16:
            embed_in_bf16(model)
        checkpoint_blocks(model, checkpointing)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(_drop_gradient)
        with LiveBytes([*model.parameters(), *model.buffers()]) as live:
            with torch.autocast("cpu", torch.bfloat16, enabled=in_bf16):
                result = loss(model)
            result.backward()
        peak: int = live.peak
    return peak


def _drop_gradient(parameter: Tensor) -> None:
    parameter.grad = None


def _fake(model: nn.Module) -> None:
    """Puts fake tensors in place of those on the meta device; a tensor with several names stays one."""
    fakes: dict[int, Tensor] = {}
    for module in model.modules():
        for key, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if id(parameter) not in fakes:
                empty = torch.empty(parameter.shape, dtype=parameter.dtype)
                fakes[id(parameter)] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
            setattr(module, key, fakes[id(parameter)])
        for key, buffer in module.named_buffers(recurse=False):
            setattr(module, key, torch.empty(buffer.shape, dtype=buffer.dtype))
