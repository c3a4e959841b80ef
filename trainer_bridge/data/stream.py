"""The loader as a dataset of torch, for trainers of one's own: `DataLoader(ShardStream(…), batch_size=None)`.

A DataLoader takes one item of each of its W workers in turn. So worker w loads global batches w, w + W, w + 2 W, …, and the
batches come in the same order as from one process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from sharding.index import Dataset
from trainer_bridge.data.loader import Loader, Transform
from trainer_bridge.data.settings import LoaderSettings


class ShardStream(IterableDataset[dict[str, Any]]):
    """The batches of one rank without end, as dictionaries with the fields of `Batch`.

    Its state is seed, epoch and position (samples of all ranks since the start of the epoch), and nothing else, so a run may go
    on with another number of ranks or workers from `state_after(batch)`. Every iteration begins at the state that was loaded
    last, at first at the start of training: a DataLoader's workers do not know which of their batches were taken. `state_dict`
    and `load_state_dict` are what torchdata's StatefulDataLoader calls, in each worker. The arguments are those of `Loader`; rank
    and world are by default torchrun's.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        batch: int,
        transform: Transform,
        seed: int = 0,
        rank: int | None = None,
        world: int | None = None,
        *,
        mixed_in: Sequence[tuple[Dataset, float]] = (),
        settings: LoaderSettings | None = None,
    ) -> None:
        self.rank = int(os.environ.get("RANK", "0")) if rank is None else rank
        self.world = int(os.environ.get("WORLD_SIZE", "1")) if world is None else world
        self.dataset, self.split, self.batch, self.transform, self.seed = dataset, split, batch, transform, seed
        self.mixed_in, self.settings = tuple(mixed_in), settings or LoaderSettings()
        self.total = self._loader(workers_of_torch=False).sequence.total
        self._start, self._of_worker = 0, False  # the global batch that an iteration begins with, this worker's own if so loaded
        self._next: int | None = None  # the one that comes next in this process

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        loader = self._loader(workers_of_torch=worker is not None)
        if number == 0 and self.rank == 0:
            sys.stderr.write(f"loader     {loader.describe()}\n")
        self._next = self._first()
        for batch in loader.stream(count(self._next, workers)):
            self._next = batch.positions[0] // self.batch + workers
            yield dict(vars(batch))

    def _first(self) -> int:
        """The global batch that an iteration begins with in this process."""
        worker = get_worker_info()
        return self._start if self._of_worker or worker is None else self._start + worker.id

    def _loader(self, workers_of_torch: bool) -> Loader:
        settings = self.settings
        if workers_of_torch and settings.workers == "auto":
            settings = settings.model_copy(update={"workers": 1})  # the DataLoader has as many processes as it was told
        return Loader(
            self.dataset,
            self.split,
            self.batch,
            self.transform,
            self.seed,
            self.rank,
            self.world,
            mixed_in=self.mixed_in,
            settings=settings,
        )

    def state_dict(self) -> dict[str, int]:
        """Where the next batch starts, in a worker of a DataLoader the next that is its own."""
        return self._state((self._first() if self._next is None else self._next) * self.batch)

    def state_after(self, batch: dict[str, Any]) -> dict[str, int]:
        """Where the batch after this one starts, for any number of ranks and workers."""
        return self._state((int(batch["positions"][0]) // self.batch + 1) * self.batch)

    def _state(self, position: int) -> dict[str, int]:
        epoch, inside = divmod(position, self.total)
        return {"seed": self.seed, "epoch": epoch, "position": inside}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on from a state; ValueError when no batch of this size starts there, or it is that of other shards."""
        if not 0 <= state["position"] < self.total:
            raise ValueError(f"{state} is no state of {self.total:,} samples; give the shards that it was saved with")
        step, rest = divmod(state["epoch"] * self.total + state["position"], self.batch)
        if rest:
            raise ValueError(f"no global batch of {self.batch} starts at {state}; set the batch that the state was saved with")
        self.seed, self._start, self._of_worker, self._next = state["seed"], step, get_worker_info() is not None, None
