"""The order in which samples stay: by the priority of their source, then by id.

A rank is a sample id whose first bits, the number of its source, are replaced by the source's place. So ranks are unique, and
those of a part are a range in the order of its samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.manifest.ids import FILE_BITS, ROW_BITS, SOURCE_BITS, sample_ids
from pipelines.manifest.parts import Part
from pipelines.sources import source_named, sources

SHIFT = np.uint64(FILE_BITS + ROW_BITS)
REST = np.uint64((1 << (FILE_BITS + ROW_BITS)) - 1)


@dataclass(frozen=True)
class Ranks:
    """The place, uint64[256], of each source by its number, and the number of each by its place."""

    places: np.ndarray
    numbers: np.ndarray

    def of_ids(self, ids: np.ndarray) -> np.ndarray:
        """The ranks of sample ids, uint64[N] both."""
        return self.places[(ids >> SHIFT).astype(np.int64)] << SHIFT | ids & REST

    def ids(self, ranks: np.ndarray) -> np.ndarray:
        """The sample ids of ranks, uint64[N] both."""
        return self.numbers[(ranks >> SHIFT).astype(np.int64)] << SHIFT | ranks & REST

    def first_of(self, part: Part) -> int:
        """The lowest rank of a part."""
        return int(self.of_ids(sample_ids(sources()[part.source].ordinal, part.file, part.first_row, 1))[0])


def ranks_by(source_priority: Sequence[str]) -> Ranks:
    """Ranks where the samples of these sources come first, in this order; RequestError for a name that is no source."""
    first = [source_named(name).ordinal for name in dict.fromkeys(source_priority)]
    numbers = [*first, *(number for number in range(1 << SOURCE_BITS) if number not in first)]
    places = np.empty(len(numbers), np.uint64)
    places[numbers] = np.arange(len(numbers), dtype=np.uint64)
    return Ranks(places, np.array(numbers, np.uint64))
