"""What costly steps on pictures share: each distinct picture is read once, decoded ahead, and results are committed in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from pipelines.manifest.join import locate, read_columns
from pipelines.manifest.parts import Part
from pipelines.manifest.pictures import STORED, StoredPicture, read_stored
from pipelines.manifest.selection import columns_of, mask_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.cache import commit_once
from pipelines.runtime.progress import Reporter
from sharding.decode import decode_picture

AHEAD = 3  # batches being read and decoded while one is worked on


Finished = Callable[[int, int], None]  # called with first, last when pictures first … last - 1 are done
Compute = Callable[[pa.Table, list[StoredPicture], list[int], Finished], pa.Table]


def pending_samples(
    storage: Storage, part: Part, cached: pa.Table, conditions: Sequence[str], columns: Sequence[str] = ()
) -> pa.Table:
    """The samples of a part that meet the conditions (of `manifest/selection.py`) and have no row in `cached`.

    A row each, in the order of sample_id: the named columns of the manifest, and where the picture is stored.
    """
    table = read_columns(storage, part, dict.fromkeys([*columns, *STORED, *columns_of(conditions)]))
    is_pending = pc.is_null(locate(cached["sample_id"].to_numpy(), table["sample_id"].to_numpy()))
    return table.filter(pc.and_(mask_of(table, conditions), is_pending)).select(["sample_id", *columns, *STORED])


def distinct_pictures(samples: pa.Table) -> tuple[list[StoredPicture], list[int]]:
    """The distinct pictures of samples (columns `STORED`), and for each sample the index of its own."""
    columns = [samples[name].to_pylist() for name in STORED]
    index: dict[StoredPicture, int] = {}
    picture_of = [index.setdefault(StoredPicture(*row), len(index)) for row in zip(*columns, strict=True)]
    return list(index), picture_of


def read_pictures(storage: Storage, pictures: Sequence[StoredPicture]) -> list[Image.Image]:
    """The pictures, RGB; OSError or ValueError when one cannot be read and decoded."""
    return [decode_picture(read_stored(storage, picture)) for picture in pictures]


def decode_ahead(
    storage: Storage, pictures: Sequence[StoredPicture], batch: int
) -> Iterator[tuple[list[int], list[Image.Image]]]:
    """(indices, RGB pictures) of those in each batch of pictures that can be decoded, in order."""

    def decode(start: int) -> tuple[list[int], list[Image.Image]]:
        indices, images = [], []
        for index in range(start, min(start + batch, len(pictures))):
            try:
                images += read_pictures(storage, [pictures[index]])
                indices.append(index)
            except (OSError, ValueError):
                continue
        return indices, images

    with ThreadPoolExecutor(AHEAD, "decode") as pool:
        waiting: list[Future[tuple[list[int], list[Image.Image]]]] = []
        for start in range(0, len(pictures), batch):
            waiting.append(pool.submit(decode, start))
            if len(waiting) > AHEAD:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def compute_in_chunks(
    storage: Storage,
    part: Part,
    family: str,
    cached: pa.Table,
    pending: pa.Table,
    chunk_rows: int,
    result_settings: Mapping[str, Any],
    compute: Compute,
    reporter: Reporter,
) -> tuple[pa.Table, list[str]]:
    """Computes the results of pending samples, `chunk_rows` at a time; (all results by sample_id, the files of the chunks).

    `cached` are the results that the part has from earlier runs, `pending` the samples without one, each with its stored picture.
    `compute` maps a chunk of samples, its distinct pictures, for each sample the index of its own, and a function to call with
    finished pictures to a table with a row per sample; columns that it leaves out are NULL. A chunk that was committed before a
    kill is not computed again; `result_settings` are in its name.
    """
    # In the order of the tars: a chunk then reads one stretch of them, and all samples of a picture are in the same chunk.
    pending = pending.sort_by([(name, "ascending") for name in ("tar", "tar_offset", "sample_id")])
    paths = []
    for start in range(0, len(pending), chunk_rows):
        chunk = pending.slice(start, chunk_rows)

        def make(name: str, chunk: pa.Table = chunk) -> pa.Table:
            pictures, picture_of = distinct_pictures(chunk)
            samples_of = np.bincount(picture_of, minlength=len(pictures))
            return compute(chunk, pictures, picture_of, lambda first, last: reporter(int(samples_of[first:last].sum())))

        path, is_new = commit_once(storage, part, family, [chunk["sample_id"].to_pylist(), result_settings], make)
        if not is_new:
            reporter(len(chunk))
        paths.append(path)
    tables = [cached.drop_columns("sample_id"), *(storage.read_parquet(path) for path in paths)]
    results = pa.concat_tables(tables, promote_options="default")
    ids = pa.chunked_array([*cached["sample_id"].chunks, *pending["sample_id"].chunks], pa.uint64())
    return results.add_column(0, "sample_id", ids).sort_by("sample_id"), paths
