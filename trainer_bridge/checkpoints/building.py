"""Models that are built without data, on the meta device, and then filled module after module.

So a rank never holds more than its own copy, or under ZeRO-3 its share of every parameter and one module. Tensors of a start
folder are mapped from its files, and read when their turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

AnyModel = TypeVar("AnyModel", bound=nn.Module)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Start(Generic[AnyModel]):
    """A model without data, and the tensors by name that it starts with; the others start at random."""

    model: AnyModel
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def filled(self) -> AnyModel:
        """The model with all its data, on the CPU."""
        fill(self.model, self.tensors, CPU)
        return self.model


def fill(
    model: nn.Module, tensors: dict[str, Tensor], device: torch.device, filled: Callable[[list[nn.Parameter]], Any] = len
) -> None:
    """Gives every parameter and buffer that has no data its values: those of `tensors`, by name, or random ones.

    Tensors are taken out of `tensors` as they are used; `filled` is called with the parameters of each module. The random numbers
    are torch's own, drawn in the order of the modules, and so the same on every rank with the same seed.
    """
    for name, module, owner in _owned(model):
        empty = {key: tensor for key, tensor in _own(module) if tensor.is_meta}
        for tensor in empty.values():
            _allocate(tensor, device)
        names = {key: f"{name}.{key}" if name else key for key in empty}
        with torch.no_grad():
            if not set(names.values()) <= tensors.keys():
                _initialise(module, owner)
            for key, tensor in empty.items():
                if names[key] in tensors:
                    tensor.copy_(tensors.pop(names[key]))
        filled([tensor for tensor in empty.values() if isinstance(tensor, nn.Parameter)])


def _allocate(tensor: Tensor, device: torch.device) -> None:
    """Memory for a tensor on the meta device, which stays the same object: others, such as AdamW's groups, refer to it."""
    data = torch.empty_like(tensor, device=device)
    same_kind = nn.Parameter(data, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else data
    torch.utils.swap_tensors(tensor, same_kind)


def _own(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The module's parameters and buffers, those of its children left out."""
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)


def _owned(
    module: nn.Module, name: str = "", owner: nn.Module | None = None
) -> Iterator[tuple[str, nn.Module, nn.Module | None]]:
    """(name, module, the model of transformers that it lies in) of a module and all below it."""
    owner = module if hasattr(module, "_init_weights") else owner
    yield name, module, owner
    for key, child in module.named_children():
        yield from _owned(child, f"{name}.{key}" if name else key, owner)


def _initialise(module: nn.Module, owner: nn.Module | None) -> None:
    """Random values of the module's own parameters: as transformers has it, or by torch's `reset_parameters`."""
    if owner is not None:
        owner._init_weights(module)
    elif reset := getattr(module, "reset_parameters", None):
        reset()
