"""Where each sample went, scattered back to its part: the family `shards_<name>`.

The rows of all indexes are sorted by sample id into files of a few consecutive parts each (`external_sort`); a part takes its own
from one of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import completed, fingerprint_of
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform, schema_of
from pipelines.runtime.external_sort import ExternalSort, SortedFile, Source, lows_of_runs, read_sorted
from pipelines.runtime.progress import Reporter
from pipelines.runtime.step import Outcome, PartResult, Step, fingerprints, run_step
from pipelines.sources import sources
from sharding.index import ALSO, Shard
from sharding.layout import index_file, split_of

SAMPLES, LOST = "exported", "lost"


def scatter(
    storage: Storage,
    parts: Sequence[Part],
    name: str,
    shards: Sequence[Shard],
    lost: Mapping[str, Sequence[Mapping[str, Any]]],
    out: Storage,
    captions_per_sample: int = 1,
) -> Outcome:
    """Writes to each part which of its samples lie in which shard, at which row, or why in none; SortFailed names tasks.

    An exported sample holds at most `captions_per_sample` of the parts' samples.
    """
    common = {"shards": fingerprint_of({shard.name: shard.sha256 for shard in shards}), "lost": fingerprint_of(lost)}
    step = Step(f"shards_{name}", ("samples",), lambda part: common, _rows_of_part)
    done = completed(storage, step.family, parts)
    current = fingerprints(storage, step, parts)
    if all(part in done and done[part].fingerprint == current.get(part) for part in parts):
        return run_step(storage, step, parts)
    ordinals = {source: sources()[source].ordinal for source in {part.source for part in parts}}
    lows = lows_of_runs((_first_id(part, ordinals), part.rows) for part in parts)
    places = ExternalSort(
        storage,
        f"places_{name}",
        ("sample_id", "shard", "position"),
        lows,
        partial(_places_in, out=out),
        (len(parts) + len(shards)) // 4,
        common,
    )
    samples = {shard.name: shard.samples for shard in shards}
    sources_of_rows = [
        Source(
            {"shard": label, "is_there": label in samples, "lost": [*lost.get(label, ())]},
            samples.get(label, 0) * captions_per_sample + len(lost.get(label, ())),
        )
        for label in sorted({*samples, *lost})
    ]
    files = places.run(sources_of_rows) if sources_of_rows else []
    work = partial(_rows_of_part, lows=lows, files=files, ordinals=ordinals)
    outcome = run_step(storage, Step(step.family, step.inputs, step.settings, work), parts)
    if not outcome.failed:
        places.remove()
    return outcome


def _first_id(part: Part, ordinals: Mapping[str, int]) -> int:
    return int(sample_ids(ordinals[part.source], part.file, part.first_row, 1)[0])


def _places_in(source: Mapping[str, Any], *, out: Storage) -> pa.Table:
    """The rows of `shards` that a shard's index and its lost samples make."""
    shard, lost = source["shard"], source["lost"]
    ids, rows = _ids_in(out, shard) if source["is_there"] else (np.empty(0, np.uint64), np.empty(0, np.int32))
    placed = {"sample_id": ids, "shard": [shard] * len(ids), "position": rows}
    left_out = {"sample_id": [row["sample_id"] for row in lost], "error": [row["reason"] for row in lost]}
    tables = [conform(pa.table(columns), "shards") for columns in (placed, left_out)]
    table = pa.concat_tables(tables)
    split = pa.array([split_of(shard)] * len(table), pa.string())
    return table.set_column(table.column_names.index("split"), "split", split)


def _ids_in(out: Storage, shard: str) -> tuple[np.ndarray, np.ndarray]:
    """The ids of samples in a shard uint64[N], and the row of each int32[N]; those that are captions of another come last."""
    index = out.read_parquet(index_file(shard), ["sample_id", ALSO])
    rows = np.arange(len(index), dtype=np.int32)
    if ALSO not in index.column_names:
        return index["sample_id"].to_numpy(), rows
    also = index[ALSO].combine_chunks()
    ids = np.concatenate([index["sample_id"].to_numpy(), also.flatten().to_numpy()])
    return ids, np.append(rows, pc.list_parent_indices(also).to_numpy().astype(np.int32))


def _rows_of_part(
    storage: Storage,
    part: Part,
    reporter: Reporter,
    *,
    lows: Sequence[int] = (),
    files: Sequence[SortedFile] = (),
    ordinals: Mapping[str, int] | None = None,
) -> PartResult:
    """The family `shards_<name>` of a part. A sample that was exported several times has the place of its first copy."""
    table = schema_of("shards").empty_table()
    if files and ordinals:
        low = _first_id(part, ordinals)
        file = files[bisect_right(lows, low) - 1]
        table = read_sorted(storage, file.path, 0, file.rows)
        ids = table["sample_id"].to_numpy()
        first, end = np.searchsorted(ids, np.array([low, low + part.rows], np.uint64)).tolist()
        table = table.slice(first, end - first)
        ids = ids[first:end]
        table = table.filter(pa.array(np.append(True, ids[1:] != ids[:-1])[: len(ids)]))
    reporter(part.rows)
    exported = len(table) - table["shard"].null_count
    return PartResult(table, {SAMPLES: exported, LOST: len(table) - exported})
