"""Examples → batches of one rank, read and decoded ahead of the trainer, with exact resume."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from infra.compat.memory import keep_freed_memory
from trainer_bridge.data.batch import Batch
from trainer_bridge.data.fault_limit import FaultLimit
from trainer_bridge.data.instructions.example import Example, Examples, SampleFault
from trainer_bridge.data.settings import LoaderSettings

CHUNK = 8  # examples that are loaded as one piece of work
AHEAD = 16  # examples at first, before it is known how large they are
MOST_AHEAD = 2048

Loaded = Sequence[Example | SampleFault]


class ExampleLoader:
    """Batches of one rank, from any global batch on; a global batch is a range of positions, of which a rank takes its slice.

    batch  examples of a global batch, a multiple of `world`
    start  position of the first example of global batch 0
    """

    def __init__(self, source: Examples, batch: int, rank: int, world: int, settings: LoaderSettings, start: int = 0) -> None:
        if batch < 1 or batch % world or not 0 <= rank < world:
            raise ValueError(f"the global batch of {batch} does not divide among {world} ranks, or there is no rank {rank}")
        self.source, self.settings, self.batch, self.share = source, settings, batch, batch // world
        self.first = start + rank * self.share
        self.limit = FaultLimit(settings.max_faults, "count faults with check_conversations, or raise data.max_faults")
        self.mean_bytes = 0.0

    def positions(self, step: int) -> np.ndarray:
        """The rank's positions in global batch `step`: int64[B]."""
        return np.arange(self.share) + self.first + step * self.batch

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The rank's slices of global batches first … last - 1, loaded by threads that end with the iteration.

        RequestError when more examples are faulty than `max_faults` allows.
        """
        keep_freed_memory()
        steps, waiting = iter(range(first, last)), deque[tuple[np.ndarray, list[Future[Loaded]]]]()
        pool = ThreadPoolExecutor(self.settings.threads(), "examples")
        try:
            while True:
                while len(waiting) < self.batches_ahead and (step := next(steps, None)) is not None:
                    positions = self.positions(step)
                    chunks = [positions[start : start + CHUNK] for start in range(0, self.share, CHUNK)]
                    waiting.append((positions, [pool.submit(self.source.load_many, chunk) for chunk in chunks]))
                if not waiting:
                    return
                positions, futures = waiting.popleft()
                yield self._batch(positions, [each for future in futures for each in future.result()])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    @property
    def batches_ahead(self) -> int:
        """Batches in work or loaded, by the memory that those before took."""
        examples = self.settings.ahead_mib * 2**20 / self.mean_bytes if self.mean_bytes else AHEAD
        return max(1, int(min(examples, MOST_AHEAD)) // self.share) + 1

    def describe(self) -> str:
        """In one line: what is loaded, and by how many threads."""
        return f"{self.source.describe()}; {self.settings.threads()} threads load ahead of the trainer"

    def fetched(self) -> str:
        """In one line: what was loaded so far."""
        return f"{self.limit.samples:,} conversations, {self.limit.faults:,} of them left out"

    def _batch(self, positions: np.ndarray, loaded: Loaded) -> Batch:
        faults = [str(each) for each in loaded if isinstance(each, SampleFault)]
        self.limit.count(len(loaded), faults)
        examples = [each if isinstance(each, Example) else None for each in loaded]
        sizes = [example.tiles.nbytes for example in examples if example is not None]
        if sizes:
            self.mean_bytes = max(1.0, self.mean_bytes, float(np.mean(sizes)))
        count = len(loaded)
        return Batch(
            pixels=torch.zeros(count, 0, dtype=torch.uint8),
            captions=[""] * count,
            json=[b"{}"] * count,
            sample_ids=[-1] * count,
            image_keys=[0] * count,
            positions=positions.tolist(),
            valid=torch.tensor([example is not None for example in examples]),
            faults=faults,
            examples=examples,
        )
