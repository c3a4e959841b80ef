"""Streams the samples of shards in an order that is a function of (seed, position) alone.

A global batch is a range of positions; a rank takes its slice of it. So a training that stops after n batches resumes with batch
n, at any number of ranks, as if it had never stopped. Threads read and decode the next batches while the trainer uses one; each
sample has its place before it is read, so the order does not depend on them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from inspect import signature
from threading import Lock
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from infra.compat.errors import RequestError
from infra.compat.memory import keep_freed_memory
from sharding.columns import SampleColumns
from sharding.index import Dataset
from sharding.sample import CAPTIONS, Sample
from sharding.sequence import SampleSequence
from trainer_bridge.data.ahead import PixelMemory, ReadAhead
from trainer_bridge.data.batch import Batch, content_key, slices
from trainer_bridge.data.draws import generators
from trainer_bridge.data.fault_limit import FaultLimit
from trainer_bridge.data.settings import LoaderSettings

CHUNK = 32  # samples that are decoded as one piece of work
READ_AT_ONCE = 128  # samples that are read as one: the interpreter's work for a read hardly grows with them
# Such reads side by side, and samples that are read before they are decoded. What was read a moment ago is in the processor's
# cache; from a store the next requests have to begin while those before them are on their way.
READERS, READ_AHEAD = 4, 256
REMOTE_READERS, REMOTE_READ_AHEAD = 8, 1024
MOST_AHEAD = 2048  # samples, however small they are: more would keep no thread busier
TRIED = 64  # samples that are tried to learn the size of what the transform returns

_Reads: TypeAlias = ReadAhead[SampleColumns]
Transform = Callable[..., np.ndarray]


class Row(NamedTuple):
    """What a batch holds of a sample besides its pixels; `fault` says why these are missing, and is empty where they are not."""

    sample_id: int
    image_key: int = 0
    caption: str = ""
    json: bytes = b"{}"
    fault: str = ""


class Loader:
    """Batches of one rank, from any global batch on.

    batch      samples of a global batch, a multiple of `world`; ValueError when it is not, or where there is no such rank
    transform  (encoded image, random generator of the position) → uint8[3, S, S], or another array or tensor, of one shape and
               type for all samples. Called in several threads. A sample for which it raises is one that cannot be decoded. One
               that takes `out` is given the sample's place in the batch: it writes the pixels there and returns it, if they fit
    mixed_in   further datasets with their weights, where that of `dataset` is 1
    start      position of the first sample of global batch 0
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        batch: int,
        transform: Transform,
        seed: int,
        rank: int = 0,
        world: int = 1,
        *,
        mixed_in: Sequence[tuple[Dataset, float]] = (),
        settings: LoaderSettings | None = None,
        start: int = 0,
    ) -> None:
        if batch < 1 or not 0 <= rank < world:
            raise ValueError(
                f"there is no rank {rank} of {world}, or no global batch of {batch}; ranks count from 0, samples from 1"
            )
        if batch % world:
            raise ValueError(f"the global batch of {batch} does not divide among {world} ranks")
        self.settings = settings or LoaderSettings()
        run_length = None if self.settings.run_length == "auto" else self.settings.run_length
        self.sequence = SampleSequence([(dataset, 1.0), *mixed_in], split, seed, self.settings.window, run_length)
        self.batch, self.share, self.rank = batch, batch // world, rank
        self.transform, self.seed, self.start = transform, seed, start
        self._writes_out = _takes_out(transform)
        self.limit = FaultLimit(self.settings.max_faults, "check the shards with `pairmill verify`, or raise data.max_faults")

    def positions(self, step: int) -> np.ndarray:
        """The rank's positions in global batch `step`: int64[B]."""
        start = self.start + step * self.batch + self.rank * self.share
        return np.arange(start, start + self.share)

    def load(self, step: int) -> Batch:
        """The rank's slice of global batch `step`."""
        return next(self.stream([step]))

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The rank's slices of global batches first … last - 1."""
        return self.stream(range(first, last))

    def stream(self, steps: Iterable[int]) -> Iterator[Batch]:
        """The rank's slices of global batches, read and decoded ahead by threads that end with the iteration.

        RequestError when more samples than `max_faults` allows cannot be read or decoded.
        """
        keep_freed_memory()
        remaining = iter(steps)
        waiting: deque[_Slice] = deque()
        count, samples = (READERS, READ_AHEAD) if self.sequence.is_local else (REMOTE_READERS, REMOTE_READ_AHEAD)
        with _threads(count, "read") as readers, _threads(self.settings.threads(), "decode") as decoders:
            reads = ReadAhead(self.sequence.read_columns, readers, max(count, samples // min(self.share, READ_AT_ONCE)))
            memory = PixelMemory(self.share, self._black)

            def fill() -> None:
                """Starts batches until the memory for them is used."""
                while len(waiting) < self.batches_ahead and (step := next(remaining, None)) is not None:
                    waiting.append(self._start(_Slice(self.positions(step), memory), reads, decoders))

            fill()
            while waiting:
                batch = waiting.popleft().batch()
                fill()
                self.limit.count(self.share, batch.faults)
                yield batch

    @property
    def batches_ahead(self) -> int:
        """Batches that are loaded ahead of the trainer, one at least."""
        by_memory = int(self.settings.ahead_mib * 2**20 // self._batch_bytes)
        return max(1, min(by_memory, -(-MOST_AHEAD // self.share)))

    def describe(self) -> str:
        """In one line: what is loaded, how far ahead, in how much memory, and how well it is shuffled."""
        sequence, ahead = self.sequence, self.batches_ahead
        shards = sum(len(reader.shards) for reader in sequence.readers)
        order = min(sequence.orders, key=lambda order: order.neighbour_distance() / order.total)
        return (
            f"{sequence.total:,} samples in {shards:,} shards; {self.settings.threads()} threads load {ahead * self.share:,} "
            f"ahead (about {ahead * self._batch_bytes / 2**20:,.0f} MiB); {_neighbours(order.run_length)} in a shard come "
            f"{order.neighbour_distance():,.0f} positions apart ({order.total / 3:,.0f} in a full shuffle)"
        )

    def fetched(self) -> str:
        """In one line: what was read so far."""
        traffic = self.sequence.traffic
        return (
            f"fetched {traffic.fetched / 2**20:,.0f} MiB in {traffic.requests:,} reads, "
            f"{traffic.fetched / max(1, traffic.used):.2f} × the bytes used"
        )

    @property
    def _batch_bytes(self) -> float:
        """Memory of a batch in work: its pixels, and its samples as they are stored."""
        return self.share * (self._black.nbytes + self.sequence.sample_bytes)

    @cached_property
    def _black(self) -> np.ndarray:
        """Black pixels of the shape and type that the transform returns, as the first sample that it can decode shows."""
        fault = ""
        for position in range(TRIED):
            at = np.array([position])
            row, pixels = self._decoded(self.sequence.read_columns(at), 0, position, generators(self.seed, at)[0])
            if pixels is not None:
                return np.zeros_like(pixels)
            fault = fault or row.fault
        raise RequestError(f"none of {TRIED} samples can be loaded; the first: {fault}")

    def _start(self, batch: _Slice, reads: _Reads, decoders: ThreadPoolExecutor) -> _Slice:
        """Has the samples of a batch read, many at once, and decoded chunk by chunk."""
        size = max(1, min(CHUNK, -(-self.share // self.settings.threads())))
        for rows in slices(self.share, READ_AT_ONCE):
            samples = reads.add(batch.positions[rows])
            count = len(batch.positions[rows])
            for chunk in slices(count, size):
                batch.chunks.append(decoders.submit(self._decode, reads, samples, batch, rows.start, chunk))
        return batch

    def _decode(self, reads: _Reads, read: Future[SampleColumns], batch: _Slice, first: int, chunk: slice) -> list[Row]:
        """Writes the pixels of a chunk of samples into a batch; those that were read with them begin at its row `first`."""
        samples = read.result() if chunk.start else reads.take(read)
        numbers = range(len(samples))[chunk]
        positions, rows = batch.positions[first + numbers.start : first + numbers.stop], list[Row]()
        pixels = batch.pixels().numpy()[first + numbers.start : first + numbers.stop]
        for out, i, position, draws in zip(pixels, numbers, positions.tolist(), generators(self.seed, positions), strict=True):
            row, decoded = self._decoded(samples, i, position, draws, out)
            if decoded is not None and (decoded.shape, decoded.dtype) != (self._black.shape, self._black.dtype):
                raise RequestError(
                    f"the transform gives {_kind(decoded)} for {self.sequence.name_of(position)}, and {_kind(self._black)} for "
                    "others; give all pictures one shape and type"
                )
            if decoded is not out:
                out[...] = self._black if decoded is None else decoded
            rows.append(row)
        return rows

    def _decoded(
        self, samples: SampleColumns, i: int, position: int, draws: np.random.Generator, out: np.ndarray | None = None
    ) -> tuple[Row, np.ndarray | None]:
        """What a batch holds of sample `i` of those that were read, and its pixels, `out` itself where they were written there.

        None where there are none.
        """
        sample_id, image, text, json = samples.sample_ids[i], samples.images[i], samples.texts[i], samples.json[i]
        if i in samples.errors:
            return Row(sample_id, fault=str(samples.errors[i])), None
        try:
            pixels = np.asarray(self.transform(image, draws, out=out) if self._writes_out else self.transform(image, draws))
        except MemoryError:
            raise
        except Exception as error:  # decoders raise many kinds
            kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
            fault = f"{self.sequence.name_of(position)}: its image cannot be decoded: {kind}{error}"
            return Row(sample_id, fault=" ".join(fault.split())), None
        if CAPTIONS in json:
            pairs = Sample(sample_id, image, text, json).pairs()
            pair = pairs[draws.integers(len(pairs)) if len(pairs) > 1 else 0]
            sample_id, text, json = pair.sample_id, pair.text, pair.json
        return Row(sample_id, content_key(image), text, json or b"{}"), pixels


def _takes_out(transform: Transform) -> bool:
    with suppress(ValueError, TypeError):  # of a function in C that tells none
        return "out" in signature(transform).parameters
    return False


def _kind(pixels: np.ndarray) -> str:
    return f"{pixels.dtype}[{', '.join(map(str, pixels.shape))}]"


class _Slice:
    """A batch in work: its pixels are written chunk by chunk, each in its place. It has no memory before the first is."""

    def __init__(self, positions: np.ndarray, memory: PixelMemory) -> None:
        self.positions, self.chunks = positions, list[Future[list[Row]]]()
        self._memory, self._lock, self._pixels = memory, Lock(), list[Tensor]()

    def pixels(self) -> Tensor:
        """Memory for the pixels, [B, 3, S, S]; called in several threads."""
        with self._lock:
            if not self._pixels:
                self._pixels.append(self._memory.take())
            return self._pixels[0]

    def batch(self) -> Batch:
        """The batch, when all is written."""
        rows = [row for chunk in self.chunks for row in chunk.result()]
        return Batch(
            pixels=self.pixels(),
            captions=[row.caption for row in rows],
            json=[row.json for row in rows],
            sample_ids=[row.sample_id for row in rows],
            image_keys=[row.image_key for row in rows],
            positions=self.positions.tolist(),
            valid=torch.tensor([not row.fault for row in rows]),
            faults=[row.fault for row in rows if row.fault],
        )


def _neighbours(run_length: int) -> str:
    return "neighbours" if run_length == 1 else f"neighbouring runs of {run_length} samples"


@contextmanager
def _threads(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """A pool whose work ends with the block, done or not."""
    pool = ThreadPoolExecutor(count, name)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
