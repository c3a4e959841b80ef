"""Where the samples of shards lie, sorted by their places in new shards: the first pass of `reshard`.

A file describes the samples of a run of shards, with a row group for each range of places that is read at a time: whoever reads a
range reads nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from infra.compat.errors import RequestError
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.shards.plan import batches_by_root, places_of
from sharding.index import Dataset, read_index
from sharding.layout import tar_file


@dataclass(frozen=True)
class Describer:
    """Describes shards of a dataset in files of `out`; `lows` begin the ranges of places."""

    dataset: Dataset
    out: Storage
    seed: int | None
    lows: Sequence[int]

    def tasks(self, split: str, folder: str) -> list[dict[str, Any]]:
        """The files of a split and the shards that each describes, as JSON values."""
        shards, first = [], 0
        for shard in self.dataset.shards(split):
            shards.append({**asdict(shard), "first": first})
            first += shard.samples
        runs = batches_by_root(shards)
        return [
            {"label": f"{run[0]['name']} …", "shards": run, "file": f"{folder}/{split}-{number}.parquet"}
            for number, run in enumerate(runs)
        ]

    def __call__(self, task: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
        """Writes a file; RequestError where a tar is not as it was indexed."""
        tables = []
        for shard in task["shards"]:
            tables.append(self._samples(shard))
            reporter(1)
        table = pa.concat_tables(tables, promote_options="default").sort_by("place")
        starts = np.searchsorted(table["place"].to_numpy(), np.array(self.lows[1:], np.uint64)).tolist()
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
            for start, end in zip([0, *starts], [*starts, len(table)], strict=True):
                if end > start:
                    writer.write_table(table.slice(start, end - start), row_group_size=end - start)
        self.out.write(task["file"], sink.getvalue())
        return {}

    def _samples(self, shard: Mapping[str, Any]) -> pa.Table:
        """place, sample_id, repeat, tar, and offset and length of each member, of the samples of a shard."""
        tars = Storage(self.dataset.tars)
        path = tars.full(tar_file(shard["name"]))
        size = tars.fs.info(path)["size"]
        if size != shard["bytes"]:
            raise RequestError(f"{path} has {size:,} bytes, and had {shard['bytes']:,} when it was indexed; index it again")
        index = read_index(self.dataset.uri, shard["name"])
        if index.outside(size).any():
            raise RequestError(f"the index of {path} places samples outside of it; index it again")
        columns: dict[str, Any] = {"place": places_of(index, shard["first"], self.seed), "sample_id": index.sample_ids}
        columns["repeat"] = index.repeats()
        columns["tar"] = pa.array([shard["name"]] * len(index), pa.string())
        for member, offsets in index.offsets.items():
            columns |= {f"{member}_offset": offsets, f"{member}_length": index.lengths[member]}
        return pa.table(columns)


def read_described(out: Storage, files: Sequence[str], low: int, high: int) -> pa.Table:
    """The samples with places from `low` to `high` of all files, in order."""
    tables = [_between(out, file, low, high) for file in files]
    return pa.concat_tables(tables, promote_options="default").sort_by("place")


def is_between(low: int, high: int) -> pc.Expression:
    """The condition that a place is in a range, both ends with it."""
    return (pc.field("place") >= pa.scalar(low, pa.uint64())) & (pc.field("place") <= pa.scalar(high, pa.uint64()))


def _between(out: Storage, file: str, low: int, high: int) -> pa.Table:
    filters, options = is_between(low, high), {"use_threads": False, "partitioning": None}
    if out.is_local:
        return pq.read_table(out.full(file), filters=filters, **options)
    with out.open(file) as handle:
        return pq.read_table(handle, filters=filters, **options)
