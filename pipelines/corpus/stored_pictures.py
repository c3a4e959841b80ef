"""Pictures of samples of a part, read again: each distinct one once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import pyarrow as pa

from pipelines.manifest.parts import Part
from pipelines.manifest.selection import WITH_PICTURE
from pipelines.manifest.storage import Storage
from pipelines.runtime.picture_chunks import Prepare, distinct_pictures, pending_samples, prepare_ahead

BATCH = 1024  # pictures at once

T = TypeVar("T")


def prepared_of_samples(
    storage: Storage, part: Part, ids: np.ndarray, prepare: Prepare[T]
) -> Iterator[tuple[list[tuple[int, int]], list[T], dict[int, str]]]:
    """What `prepare` makes of the stored pictures of the samples `ids`, uint64[N], a batch of pictures at a time.

    Each batch is (sample, the place of its picture) of all whose picture it holds, what was made of the pictures, and sample →
    why its picture could not be read.
    """
    if not len(ids):
        return
    nobody = pa.table({"sample_id": pa.array([], pa.uint64())})
    samples = pending_samples(storage, part, nobody, WITH_PICTURE)
    samples = samples.filter(pa.array(np.isin(samples["sample_id"].to_numpy(), ids)))
    pictures, picture_of = distinct_pictures(samples) if len(samples) else ([], [])
    shown_by: dict[int, list[int]] = {}
    for sample, picture in zip(samples["sample_id"].to_pylist(), picture_of, strict=True):
        shown_by.setdefault(picture, []).append(sample)
    for batch in prepare_ahead(storage, pictures, BATCH, prepare):
        places = [(sample, place) for place, picture in enumerate(batch.indices) for sample in shown_by[picture]]
        yield places, batch.items, {sample: why for picture, why in batch.errors.items() for sample in shown_by[picture]}
