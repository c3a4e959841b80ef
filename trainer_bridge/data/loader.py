"""Streams the samples of shards in an order that is a function of (seed, position) alone.

A global batch is a range of positions; a rank takes its slice of it. So a training that stops after n batches resumes with batch
n, at any number of ranks, as if it had never stopped.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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


def cores_of_rank() -> int:
    """The cores that this rank may use: ranks on one machine share its cores."""
    return max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


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
        self.pool = ThreadPoolExecutor(cores_of_rank(), "decode")  # Pillow and simplejpeg leave the interpreter free

    def positions(self, step: int) -> range:
        """The rank's positions in global batch `step`."""
        share = self.batch // self.world
        start = step * self.batch + self.rank * share
        return range(start, start + share)

    def load(self, step: int) -> Batch:
        """The rank's slice of global batch `step`; the last sample is repeated for each picture that cannot be decoded.

        ValueError when none can.
        """
        positions = self.positions(step)
        samples = [self.reader.read(*self.order.at(position)) for position in positions]
        decoded = zip(self.pool.map(self._pixels, samples, positions), samples, positions, strict=True)
        loaded = [(pixels, sample, position) for pixels, sample, position in decoded if pixels is not None]
        if not loaded:
            raise ValueError(f"no picture of global batch {step} could be decoded; run `pairmill verify URI --decode`")
        faults = len(positions) - len(loaded)
        loaded += loaded[-1:] * faults
        return Batch(
            pixels=torch.from_numpy(np.stack([pixels for pixels, _, _ in loaded])),
            captions=[sample.text for _, sample, _ in loaded],
            json=[sample.json for _, sample, _ in loaded],
            sample_ids=[sample.sample_id for _, sample, _ in loaded],
            positions=[position for _, _, position in loaded],
            faults=faults,
        )

    def _pixels(self, sample: Sample, position: int) -> np.ndarray | None:
        try:
            return self.transform(sample.image, np.random.default_rng([self.seed, position]))
        except ValueError:
            return None

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
