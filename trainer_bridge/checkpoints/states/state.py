"""What a training needs to go on as if it had never stopped, saved and restored by all ranks together.

Each rank writes the numbers that it holds (`Share`) to a file of its own, all at the same time, as runs of flattened parameters
with their first place. To restore, a rank reads from all files the runs that overlap with what it holds now, and only these. So
neither the number of ranks nor how ZeRO divides parameters among them need be the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch import distributed as dist

from infra.compat.errors import RequestError
from sharding.ranges import Range
from trainer_bridge.checkpoints.states.folder import StateFolder
from trainer_bridge.checkpoints.states.from_rank_0 import from_rank_0
from trainer_bridge.checkpoints.states.share import WEIGHT, Share
from trainer_bridge.checkpoints.states.tensor_file import CODES, DTYPES, read_headers, write_tensors
from trainer_bridge.checkpoints.weights import misfits

FORMAT = 1
READ_AT_ONCE = 64 << 20  # bytes


class Run(NamedTuple):
    """Numbers `start` … `end` - 1 of a flattened parameter, from a byte of a file on."""

    start: int
    end: int
    path: str
    byte: int
    dtype: str


@dataclass(frozen=True)
class SavedState:
    """A state that is whole. The same on every rank.

    progress  numbers that the trainer gave: steps, seconds, and whatever else it counts
    run       what must be the same to go on from it: the settings that decide which samples come, by name
    updates   of AdamW
    frozen    a checksum of the weights that are not trained, which are not saved
    shapes    of parameters and buffers, by name
    runs      where the numbers of each lie, by name and kind
    """

    path: str
    progress: dict[str, Any]
    run: dict[str, Any]
    updates: int
    frozen: int
    world: int
    shapes: dict[str, list[int]]
    runs: dict[str, dict[str, list[Run]]]

    @property
    def moments(self) -> set[str]:
        """The kinds of numbers that the optimizer holds of parameters."""
        return {kind for kinds in self.runs.values() for kind in kinds} - {WEIGHT}

    def require_fit(self, shapes: Mapping[str, list[int]], run: Mapping[str, Any]) -> None:
        """RequestError when it is of another model or another run."""
        if listed := misfits(self.shapes, shapes):
            raise RequestError(
                f"the state {self.path} is of another model: {listed}; train the model it is of, or name another --out"
            )
        others = [
            f"{name} was {self.run.get(name)}, and is {value}" for name, value in run.items() if self.run.get(name) != value
        ]
        if others:
            raise RequestError(
                f"the state {self.path} is of another run: {'; '.join(others)}; go on with these, or name another --out"
            )

    def require_frozen(self, checksum: int) -> None:
        """RequestError when the weights that are not trained are others."""
        if checksum != self.frozen:
            raise RequestError(
                f"the state {self.path} is of a run whose weights that are not trained are others; name the same --from, or "
                "another --out"
            )

    def restore(self, folder: StateFolder, shares: Iterable[Share]) -> None:
        """Reads the numbers of a rank's shares into their tensors."""
        reader = folder.reader()
        for jobs in _batches(job for share in shares for job in self._jobs(share)):
            for (target, dtype, _), data in zip(jobs, reader.read([where for *_, where in jobs]), strict=True):
                if isinstance(data, Exception):
                    raise data
                target.copy_(torch.frombuffer(bytearray(data), dtype=dtype))

    def _jobs(self, share: Share) -> Iterator[tuple[Tensor, torch.dtype, Range]]:
        """Runs of numbers to be read: where to, of which type, and from where."""
        for kind, tensor in share.tensors.items():
            for run in self.runs.get(share.name, {}).get(kind, ()):
                start, end = max(run.start, share.start), min(run.end, share.start + tensor.numel())
                if start < end:
                    dtype = DTYPES[run.dtype]
                    first, last = (run.byte + (place - run.start) * dtype.itemsize for place in (start, end))
                    yield tensor[start - share.start : end - share.start], dtype, Range(run.path, first, last)


def _batches(jobs: Iterable[tuple[Tensor, torch.dtype, Range]]) -> Iterator[list[tuple[Tensor, torch.dtype, Range]]]:
    """The jobs in turn, so many at once that memory for them is bounded."""
    batch, size = [], 0
    for job in jobs:
        batch.append(job)
        size += job[2].end - job[2].start
        if size >= READ_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def state_shapes(model: nn.Module) -> dict[str, list[int]]:
    """The shapes of all that is saved of a model, by name: trained parameters, and buffers."""
    shapes = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad} | saved_buffers(model)
    return {name: list(getattr(tensor, "ds_shape", tensor.shape)) for name, tensor in shapes.items()}


def saved_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The model's buffers that are part of its state dict, by name."""
    persistent = model.state_dict(keep_vars=True)
    return {name: buffer for name, buffer in model.named_buffers() if name in persistent}


def newest_state(folder: StateFolder) -> SavedState | None:
    """The newest whole state, if there is one; every rank must call it. RequestError when it cannot be gone on from."""
    document = from_rank_0(lambda: read_state(folder))
    return None if document is None else saved_state(document)


def saved_state(document: Mapping[str, Any]) -> SavedState:
    """The state that a document of `read_state` is of."""
    runs = {name: {kind: [Run(*run) for run in runs] for kind, runs in kinds.items()} for name, kinds in document["runs"].items()}
    fields = {name: document[name] for name in ("progress", "run", "updates", "frozen", "world", "shapes")}
    return SavedState(path=document["path"], runs=runs, **fields)


def read_state(folder: StateFolder) -> dict[str, Any] | None:
    """The newest whole state as a JSON document; None where there is none. RequestError when it is broken."""
    document = folder.newest()
    if document is None:
        return None
    if document.get("format") != FORMAT:
        raise RequestError(
            f"a state in {folder.uri} is of format {document.get('format')}, not {FORMAT}; go on with the version that wrote it"
        )
    path = folder.path(document["progress"]["steps"])
    runs = _runs(folder, {f"{path}/{name}": size for name, size in document["files"].items()})
    for name, shape in document["shapes"].items():
        for kind, pieces in runs.get(name, {WEIGHT: []}).items():
            borders = [(0, 0), *((run.start, run.end) for run in pieces), (math.prod(shape), 0)]
            if any(start != end for (_, end), (start, _) in pairwise(borders)):
                raise RequestError(
                    f"the state {path} is broken: it lacks a part of {kind}:{name}; delete it to go on from the one before"
                )
    return document | {"path": path, "runs": runs}


def _runs(folder: StateFolder, sizes: Mapping[str, int]) -> dict[str, dict[str, list[Run]]]:
    """Where the numbers of each parameter lie in the files, by name and kind, in their order."""
    runs: dict[str, dict[str, list[Run]]] = {}
    for path, header in read_headers(folder.reader(), sizes).items():
        for key, (dtype, count, byte) in header.tensors.items():
            kind, _, name = key.partition(":")
            start = int(header.metadata[name])
            runs.setdefault(name, {}).setdefault(kind, []).append(Run(start, start + count, path, byte, CODES[dtype]))
    return {name: {kind: sorted(pieces) for kind, pieces in kinds.items()} for name, kinds in runs.items()}


def save_state(folder: StateFolder, shares: Iterable[Share], document: Mapping[str, Any], keep: int) -> None:
    """Saves what the ranks hold and removes all but the newest `keep` states; every rank must call it.

    `document` has the fields of `SavedState` but for path, world and runs; `progress` has `steps`.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    write_shares(folder, document["progress"]["steps"], shares, rank, world)
    dist.barrier()
    from_rank_0(lambda: finish_state(folder, document, world, keep))


def write_shares(folder: StateFolder, steps: int, shares: Iterable[Share], rank: int, world: int) -> None:
    """Writes the file of one of `world` ranks."""
    pieces = [share.piece(rank, world) for share in shares]
    tensors = {f"{kind}:{piece.name}": tensor for piece in pieces for kind, tensor in piece.tensors.items() if tensor.numel()}
    with folder.create(steps, _file_name(rank)) as stream:
        write_tensors(stream, tensors, {piece.name: str(piece.start) for piece in pieces})


def finish_state(folder: StateFolder, document: Mapping[str, Any], world: int, keep: int) -> None:
    """Marks a state as whole, once all ranks have written their files."""
    names = [_file_name(rank) for rank in range(world)]
    folder.finish(document["progress"]["steps"], names, {"format": FORMAT, "world": world, **document}, keep)


def _file_name(rank: int) -> str:
    return f"rank-{rank:05d}.safetensors"
