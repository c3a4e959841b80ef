"""A batch, and its way to the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import torch
import xxhash
from torch import Tensor

from trainer_bridge.data.instructions.example import Example


@dataclass
class Batch:
    """A rank's slice of a global batch, B samples.

    pixels      uint8[B, 3, S, S], channels last in memory; pinned where there is a GPU
    captions    the samples' captions
    json        the samples' json members
    sample_ids  -1 where even that could not be read
    image_keys  equal where encoded pictures are
    positions   places in the order of training
    valid       bool[B]; a sample that could not be read or decoded keeps its place, with black pixels, "" and b"{}", and no loss
    faults      why samples are not valid, one line each
    examples    conversations of instruction data in place of pictures and captions, None of one that is not valid; else empty
    """

    pixels: Tensor
    captions: list[str]
    json: list[bytes]
    sample_ids: list[int]
    image_keys: list[int]
    positions: list[int]
    valid: Tensor
    faults: list[str]
    examples: list[Example | None] = field(default_factory=list)

    def split(self, size: int) -> Iterator[Batch]:
        """Micro-batches of at most `size` samples, in order; `faults` are not divided among them."""
        for rows in slices(len(self.captions), size):
            yield Batch(
                self.pixels[rows],
                self.captions[rows],
                self.json[rows],
                self.sample_ids[rows],
                self.image_keys[rows],
                self.positions[rows],
                self.valid[rows],
                [],
                self.examples[rows],
            )


def slices(count: int, size: int) -> list[slice]:
    """The rows of each micro-batch of at most `size` samples among `count`."""
    return [slice(start, start + size) for start in range(0, count, size)]


def content_key(content: bytes) -> int:
    """A number of 63 bits, equal for equal bytes, to tell which samples of a batch have the same picture or the same words."""
    return xxhash.xxh3_64_intdigest(content) >> 1


def copied_ahead(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches with their pixels on the device, each copied on a stream of its own while the one before it is in use."""
    if device.type != "cuda":
        yield from batches
        return
    stream, waiting = torch.cuda.Stream(device), None
    for batch in batches:
        with torch.cuda.stream(stream):
            copied = replace(batch, pixels=batch.pixels.to(device, non_blocking=True)), stream.record_event()
        if waiting is not None:
            yield _arrived(*waiting)
        waiting = copied
    if waiting is not None:
        yield _arrived(*waiting)


def _arrived(batch: Batch, copied: torch.cuda.Event) -> Batch:
    """The batch, once work of the current stream may use it; its memory is not given away before that work is done."""
    current = torch.cuda.current_stream(batch.pixels.device)
    current.wait_event(copied)
    batch.pixels.record_stream(current)
    return batch
