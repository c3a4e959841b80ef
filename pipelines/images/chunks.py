"""What costly steps on pictures share: each distinct picture is read once, decoded ahead, and its work committed in chunks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipelines.images.decode import flatten
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.runtime.cache import commit_once
from pipelines.runtime.progress import Reporter

AHEAD = 3  # batches being read and decoded while one is worked on

Place = tuple[str, int, int]  # tar, offset, length
Finished = Callable[[int, int], None]  # pictures first … last - 1 are done
Work = Callable[[pa.Table, list[Place], list[int], Finished], pa.Table]


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


def work_in_chunks(
    storage: Storage,
    part: Part,
    family: str,
    earlier: pa.Table,
    todo: pa.Table,
    size: int,
    paid_with: Any,
    work: Work,
    reporter: Reporter,
) -> tuple[pa.Table, list[str]]:
    """Does the work on samples that have no result yet, `size` at a time; (all results by sample_id, the files of the chunks).

    `earlier` are the results that a part has, `todo` samples with the place of their picture. `work` gets a chunk of samples, its
    distinct places, for each sample the index of its own, and whom to tell of finished pictures; it returns a row per sample. A
    chunk that was committed before a kill is not worked on again; `paid_with` is in its name.
    """
    # In the order of the tars, so that a chunk reads its own stretch, and all samples of a picture fall together.
    todo = todo.sort_by([(name, "ascending") for name in ("fetch_tar", "fetch_offset", "sample_id")])
    columns = [name for name in earlier.column_names if name != "sample_id"]
    paths = []
    for start in range(0, len(todo), size):
        chunk = todo.slice(start, size)

        def make(name: str, chunk: pa.Table = chunk) -> pa.Table:
            places, rows = distinct_places(chunk)
            sharing = np.bincount(rows, minlength=len(places))
            return work(chunk, places, rows, lambda first, last: reporter(int(sharing[first:last].sum())))

        path, made = commit_once(storage, part, family, [chunk["sample_id"].to_pylist(), paid_with], make)
        if not made:
            reporter(len(chunk))
        paths.append(path)
    new = pa.concat_tables([earlier.select(columns), *(storage.read_parquet(path, columns) for path in paths)])
    ids = pa.chunked_array([*earlier["sample_id"].chunks, *todo["sample_id"].chunks], pa.uint64())
    return new.add_column(0, "sample_id", ids).sort_by("sample_id"), paths
