"""The samples of one or several weighted datasets as one endless sequence, by position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sharding.columns import ReadError, SampleColumns
from sharding.index import Dataset
from sharding.mixture import Mixture
from sharding.order import RUN_LENGTH, WINDOW, Order
from sharding.ranges import Traffic
from sharding.reader import ShardReader
from sharding.sample import Sample


class SampleSequence:
    """Which samples come at which positions, and the samples themselves; each dataset goes through epochs of its own.

    datasets    with their weights, in proportion to each other
    window      shards shuffled together
    run_length  neighbours that come one after the other; None: RUN_LENGTH where shards are in random order, else 1
    """

    def __init__(
        self,
        datasets: Sequence[tuple[Dataset, float]],
        split: str,
        seed: int,
        window: int = WINDOW,
        run_length: int | None = None,
    ) -> None:
        self.mixture = Mixture([weight for _, weight in datasets])
        self.readers = [ShardReader(dataset, split, open_shards=4 * window) for dataset, _ in datasets]
        lengths = [run_length or (RUN_LENGTH if dataset.is_shuffled else 1) for dataset, _ in datasets]
        self.orders = [
            Order(reader.sizes(), seed + number, window, own)
            for number, (reader, own) in enumerate(zip(self.readers, lengths, strict=True))
        ]
        self.total = sum(order.total for order in self.orders)

    def places(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """At each of the positions int64[N] the number of the dataset, int64[N], and the shard and row in it, int64[N, 2]."""
        numbers, own = self.mixture.at_many(positions)
        places = np.empty((len(own), 2), np.int64)
        for number in {*numbers.tolist()}:
            chosen = numbers == number
            places[chosen] = np.stack(self.orders[number].at_many(own[chosen]), axis=1)
        return numbers, places

    def read_many(self, positions: np.ndarray) -> list[Sample | ReadError]:
        """The sample at each of the positions int64[N], or why it cannot be read."""
        columns = self.read_columns(positions)
        return [columns[i] for i in range(len(columns))]

    def read_columns(self, positions: np.ndarray) -> SampleColumns:
        """The same as columns."""
        numbers, places = self.places(positions)
        if len(self.readers) == 1:
            return self.readers[0].read_columns(places)
        samples = SampleColumns.empty(len(places))
        for number in {*numbers.tolist()}:
            chosen = np.flatnonzero(numbers == number)
            samples.put(chosen, self.readers[number].read_columns(places[chosen]))
        return samples

    def name_of(self, position: int) -> str:
        """Where the sample at a position lies: the tar's URI and the number of the sample in it."""
        numbers, places = self.places(np.array([position]))
        reader = self.readers[int(numbers[0])]
        return reader.name_of(int(places[0, 0]), int(places[0, 1]))

    @property
    def is_local(self) -> bool:
        """Whether all samples lie in local files."""
        return all(reader.is_local for reader in self.readers)

    @property
    def sample_bytes(self) -> float:
        """Mean bytes of a sample in its tar."""
        shards = [shard for reader in self.readers for shard in reader.shards]
        return sum(shard.bytes for shard in shards) / self.total

    @property
    def traffic(self) -> Traffic:
        """What was read of all tars so far."""
        parts = [reader.traffic for reader in self.readers]
        return Traffic(*(sum(getattr(part, name) for part in parts) for name in ("requests", "fetched", "used")))
