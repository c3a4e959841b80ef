"""Reading the pictures that fetch stored: each distinct one once, decoded ahead of whoever waits for them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa
from PIL import Image

from pipelines.fetching.images import flatten
from pipelines.manifest.storage import Storage

AHEAD = 3  # batches being read and decoded while one is worked on

Place = tuple[str, int, int]  # tar, offset, length


def distinct_places(samples: pa.Table) -> tuple[list[Place], list[int]]:
    """The distinct places of samples (fetch_tar, fetch_offset, fetch_length), and for each sample the index of its own."""
    columns = [samples[f"fetch_{name}"].to_pylist() for name in ("tar", "offset", "length")]
    index: dict[Place, int] = {}
    rows = [index.setdefault(place, len(index)) for place in zip(*columns, strict=True)]
    return list(index), rows


def decoded(storage: Storage, places: Sequence[Place], batch: int) -> Iterator[tuple[list[int], list[Image.Image]]]:
    """Batches of (indices, RGB pictures) of those that can be decoded, in order; every batch of places gives one."""

    def load(start: int) -> tuple[list[int], list[Image.Image]]:
        indices, pictures = [], []
        for index in range(start, min(start + batch, len(places))):
            try:
                pictures.append(flatten(Image.open(io.BytesIO(storage.read_range(*places[index])))))
                indices.append(index)
            except (OSError, ValueError):
                continue
        return indices, pictures

    with ThreadPoolExecutor(AHEAD, "decode") as pool:
        waiting: list[Future[tuple[list[int], list[Image.Image]]]] = []
        for start in range(0, len(places), batch):
            waiting.append(pool.submit(load, start))
            if len(waiting) > AHEAD:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
