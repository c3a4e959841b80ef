"""Which numbers of which parameters DeepSpeed keeps on this rank, under each ZeRO stage.

Under every stage AdamW is given flat tensors, and its moments have their shapes. Without ZeRO each is a whole parameter, on every
rank. ZeRO 1 and 2 lay the parameters of a group end to end and give each rank one stretch, in which a parameter may begin or end
anywhere. ZeRO 3 cuts every parameter into as many equal parts as there are ranks, the last filled up, and lays a rank's parts end
to end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from zlib import crc32

import torch
from torch import Tensor, nn
from torch import distributed as dist

from trainer_bridge.checkpoints.states.share import WEIGHT, Share
from trainer_bridge.checkpoints.states.state import saved_buffers

STEP = "step"  # what AdamW calls the number of its updates; all else that it keeps is as large as the flat tensor
BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # integers by size in bytes


class Place(NamedTuple):
    """Numbers `start` … of a flattened parameter lie in a tensor of the optimizer's: `size` of them, from `offset` on."""

    flat: Tensor
    offset: int
    start: int
    size: int


def held_shares(engine: Any) -> Iterator[Share]:
    """What this rank holds of the trained parameters and the buffers, moments included: all tensors that AdamW keeps of them."""
    state = _adamw(engine).state
    replicated = engine.zero_optimization_stage() == 0
    for name, parameter in engine.module.named_parameters():
        place = _place(engine, parameter) if parameter.requires_grad else None
        if place is not None:
            values = {WEIGHT: place.flat} | {kind: value for kind, value in state.get(place.flat, {}).items() if kind != STEP}
            rows = slice(place.offset, place.offset + place.size)
            tensors = {kind: value.detach().view(-1)[rows] for kind, value in values.items()}
            yield Share(name, tuple(getattr(parameter, "ds_shape", parameter.shape)), place.start, tensors, replicated)
    for name, buffer in saved_buffers(engine.module).items():
        yield Share(name, tuple(buffer.shape), 0, {WEIGHT: buffer.view(-1)}, on_others=True)


def updates(engine: Any) -> int:
    """The updates that AdamW has made."""
    return max((int(state[STEP]) for state in _adamw(engine).state.values()), default=0)


def add_moments(engine: Any, kinds: Iterable[str], updates: int) -> None:
    """Gives AdamW moments of these kinds, zero until they are restored, as after so many updates."""
    adamw = _adamw(engine)
    for flat in _flats(engine):
        step = torch.tensor(float(updates), device=flat.device)
        adamw.state[flat] = {STEP: step} | {kind: torch.zeros_like(flat, requires_grad=False) for kind in kinds}


def share_weights(engine: Any) -> None:
    """Brings changed weights to where the model uses them; every rank must call it."""
    stage, optimizer = engine.zero_optimization_stage(), engine.optimizer
    if stage in (1, 2):
        optimizer.update_lp_params()
    elif stage == 3:
        for used, restored in zip(optimizer.fp16_partitioned_groups_flat, optimizer.fp32_partitioned_groups_flat, strict=True):
            used.data.copy_(restored.data)
        kept_whole = optimizer.persistent_parameters
        if kept_whole:
            kept_whole[0].partition(kept_whole)
            kept_whole[0].all_gather(kept_whole)


def frozen_checksum(engine: Any) -> int:
    """A number that hangs on each bit of the weights that are not trained; every rank must call it."""
    parts = [
        _bit_sum(own_piece(parameter)).to(engine.device) * (crc32(name.encode()) | 1)
        for name, parameter in engine.module.named_parameters()
        if not parameter.requires_grad
    ]
    checksum = torch.stack(parts).sum() if parts else torch.zeros((), dtype=torch.int64, device=engine.device)
    if engine.zero_optimization_stage() == 3:
        dist.all_reduce(checksum)
    return int(checksum.item())


def _bit_sum(numbers: Tensor) -> Tensor:
    """The sum of the bits, read as integers: int64, the same in any order and in any parts."""
    return numbers.detach().contiguous().view(BITS[numbers.element_size()]).sum(dtype=torch.int64)


def own_piece(parameter: nn.Parameter) -> Tensor:
    """What a rank holds of a parameter: all of it or, under ZeRO-3, a piece, here without the padding at its end."""
    if not hasattr(parameter, "ds_tensor"):
        return parameter.detach()
    piece: Tensor = parameter.ds_tensor.detach()
    return piece[: _real(parameter, piece.numel())]


def _real(parameter: Any, count: int) -> int:
    """How many of the numbers of a rank's part, of `count` on each rank, are the parameter's own."""
    return int(min(count, max(0, parameter.ds_numel - dist.get_rank() * count)))


def _adamw(engine: Any) -> Any:
    return engine.optimizer if engine.zero_optimization_stage() == 0 else engine.optimizer.optimizer


def _flats(engine: Any) -> list[Tensor]:
    stage, optimizer = engine.zero_optimization_stage(), engine.optimizer
    if stage == 0:
        return [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return list(optimizer.fp32_partitioned_groups_flat if stage == 3 else optimizer.single_partition_of_fp32_groups)


def _place(engine: Any, parameter: Any) -> Place | None:
    """Where a trained parameter's numbers lie on this rank; None where it holds none of them."""
    stage, optimizer = engine.zero_optimization_stage(), engine.optimizer
    if stage == 0:
        return Place(parameter, 0, 0, parameter.numel())
    if stage == 3:
        group, offset, count = optimizer.grad_position[optimizer.get_param_id(parameter)]
        real = _real(parameter, count)
        return Place(optimizer.fp32_partitioned_groups_flat[group], offset, dist.get_rank() * count, real) if real else None
    part = parameter._hp_mapping
    if part is None:
        return None
    flat = optimizer.single_partition_of_fp32_groups[part.param_group_index]
    return Place(flat, part.hp_fragment_address.start, part.lp_fragment_address.start, part.hp_fragment_address.numel)
