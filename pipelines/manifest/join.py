"""Joining the families of one part by sample_id, in memory: no shuffle at any scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import schema_of


def read_part(storage: Storage, part: Part, columns: Mapping[str, Sequence[str]]) -> pa.Table:
    """The named columns of families of one part, a row per sample, in the order of sample_id.

    `columns` maps a family to its columns, `samples` first. Columns of other families are prefixed (`fetch_status`), and NULL
    where that family has no row for the sample or was not made.
    """
    samples = storage.read_parquet(part.path("samples"), ["sample_id", *columns["samples"]])
    ids = samples["sample_id"].to_numpy()
    joined = {name: samples[name] for name in samples.column_names}
    for family, names in columns.items():
        if family != "samples":
            table = read_family(storage, part, family, names)
            joined |= {f"{family}_{name}": column for name, column in zip(names, _rows_of(table, ids), strict=True)}
    return pa.table(joined)


def _rows_of(table: pa.Table, ids: np.ndarray) -> list[pa.ChunkedArray]:
    """The columns of a family's table but sample_id, a row per id; NULL where it has none."""
    columns = table.columns[1:]
    if not len(table):
        return [pa.nulls(len(ids), column.type) for column in columns]
    rows = locate(table["sample_id"].to_numpy(), ids)
    return [column.take(rows) for column in columns]


def first_known(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Of each row the first value that is not NULL. Columns without a value, and those after a full one, cost nothing."""
    useful = [column for column in columns if column.null_count < len(column)] or columns[:1]
    return pc.coalesce(*useful) if useful[0].null_count else useful[0]


def read_family(storage: Storage, part: Part, family: str, columns: Sequence[str]) -> pa.Table:
    """sample_id and the named columns of one family of a part; no rows when it was not made."""
    path = part.path(family)
    names = ["sample_id", *columns]
    if storage.exists(path):
        return storage.read_parquet(path, names)
    schema = schema_of(family)
    return pa.schema([schema.field(name) for name in names]).empty_table()


def locate(have: np.ndarray, wanted: np.ndarray) -> pa.Array:
    """For each wanted id its index in the sorted ids `have`, NULL where it is absent: int64[len(wanted)]."""
    if len(have) == 0:
        return pa.nulls(len(wanted), pa.int64())
    index = np.searchsorted(have, wanted)
    index[index == len(have)] = 0
    return pa.array(index, mask=have[index] != wanted)
