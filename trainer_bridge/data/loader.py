"""Streams the samples of shards in an order that is a function of (seed, position) alone.

A global batch is a range of positions; a rank takes its slice of it. So a training that stops after n batches resumes with batch
n, at any number of ranks, as if it had never stopped.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sharding.index import Dataset
from sharding.order import Order
from sharding.reader import ShardReader
from sharding.sample import Sample

READ_AHEAD = 4  # batches read and decoded before the trainer takes them

Transform = Callable[[bytes, np.random.Generator], np.ndarray]


@dataclass
class Batch:
    """A rank's slice of a global batch, B samples.

    pixels     uint8[B, 3, S, S]
    json       the samples' json members
    positions  places in the order of training
    faults     pictures that could not be decoded
    """

    pixels: Tensor
    captions: list[str]
    json: list[bytes]
    sample_ids: list[int]
    positions: list[int]
    faults: int

    def split(self, size: int) -> Iterator[Batch]:
        """Micro-batches of at most `size` samples, in order; `faults` are not divided among them."""
        for start in range(0, len(self.captions), size):
            part = slice(start, start + size)
            yield Batch(self.pixels[part], self.captions[part], self.json[part], self.sample_ids[part], self.positions[part], 0)


class Loader:
    """Batches of one rank, from any global batch on.

    batch      samples of a global batch, a multiple of `world`; ValueError when it is not
    transform  (encoded image, random generator of the position) → uint8[3, S, S]; ValueError when it cannot be decoded
    """

    def __init__(
        self, dataset: Dataset, split: str, batch: int, transform: Transform, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        if batch % world:
            raise ValueError(f"the global batch of {batch} does not divide among {world} ranks")
        self.reader = ShardReader(dataset, split)
        self.order = Order(self.reader.sizes(), seed)
        self.batch, self.rank, self.world = batch, rank, world
        self.transform, self.seed = transform, seed

    def positions(self, step: int) -> range:
        """The rank's positions in global batch `step`."""
        share = self.batch // self.world
        start = step * self.batch + self.rank * share
        return range(start, start + share)

    def load(self, step: int) -> Batch:
        """The rank's slice of global batch `step`; the last sample is repeated for each picture that cannot be decoded.

        ValueError when none can.
        """
        loaded: list[tuple[np.ndarray, Sample, int]] = []
        faults = 0
        for position in self.positions(step):
            sample = self.reader.read(*self.order.at(position))
            try:
                loaded.append((self._pixels(sample, position), sample, position))
            except ValueError:
                faults += 1
        if not loaded:
            raise ValueError(f"no picture of global batch {step} could be decoded; run sharding.verify on the shards")
        loaded += loaded[-1:] * faults
        pixels, samples, positions = zip(*loaded, strict=True)
        return Batch(
            pixels=torch.from_numpy(np.stack(pixels)),
            captions=[sample.text for sample in samples],
            json=[sample.json for sample in samples],
            sample_ids=[sample.sample_id for sample in samples],
            positions=list(positions),
            faults=faults,
        )

    def _pixels(self, sample: Sample, position: int) -> np.ndarray:
        return self.transform(sample.image, np.random.default_rng([self.seed, position]))

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Global batches first … last - 1, read and decoded ahead in a thread that ends with the iteration."""
        ready: queue.Queue[Batch | Exception] = queue.Queue(READ_AHEAD)
        stop = threading.Event()

        def put(item: Batch | Exception) -> None:
            while not stop.is_set():
                try:
                    return ready.put(item, timeout=0.1)
                except queue.Full:
                    continue

        def work() -> None:
            try:
                for step in range(first, last):
                    if stop.is_set():
                        return
                    put(self.load(step))
            except Exception as error:
                put(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            for _ in range(first, last):
                item = ready.get()
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()
