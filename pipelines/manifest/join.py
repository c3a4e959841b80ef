"""Joining the families of one part by sample_id, in memory: no shuffle at any scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.manifest.parts import Part
from pipelines.manifest.precedence import places_of
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import OPEN, as_type, field_of, schema_of


def read_columns(storage: Storage, part: Part, columns: Iterable[str]) -> pa.Table:
    """sample_id and the named columns of the manifest for one part, a row per sample, in the order of sample_id.

    The names and the values are those of the SQL view `manifest`: which family a value is taken from says
    `pipelines.manifest.precedence`. RequestError for a column that the manifest does not have.
    """
    places = {column: places_of(column) for column in columns if column != "sample_id"}
    needed: dict[str, list[str]] = {"samples": []}
    for family, name in dict.fromkeys(place for of_column in places.values() for place in of_column):
        needed.setdefault(family, []).append(name)
    samples = read_family(storage, part, "samples", needed.pop("samples"))
    ids = samples["sample_id"].to_numpy()
    values = {("samples", name): samples[name] for name in samples.column_names}
    for family, names in needed.items():
        rows = _rows_of(read_family(storage, part, family, names), ids)
        values |= {(family, name): column for name, column in zip(names, rows, strict=True)}
    joined = {column: first_known([values[place] for place in of_column]) for column, of_column in places.items()}
    return pa.table({"sample_id": samples["sample_id"], **joined})


def _rows_of(table: pa.Table, ids: np.ndarray) -> list[pa.ChunkedArray]:
    """The columns of a family's table but sample_id, a row per id; NULL where it has none."""
    columns = table.columns[1:]
    if not len(table):
        return [pa.chunked_array([pa.nulls(len(ids), column.type)]) for column in columns]
    rows = locate(table["sample_id"].to_numpy(), ids)
    return [column.take(rows) for column in columns]


def first_known(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Of each row the first value that is not NULL. Columns without a value, and those after a full one, cost nothing."""
    useful = [column for column in columns if column.null_count < len(column)] or columns[:1]
    return pc.coalesce(*useful) if useful[0].null_count else useful[0]


def read_family(storage: Storage, part: Part, family: str, columns: Sequence[str] | None = None) -> pa.Table:
    """sample_id and the named columns (all but it where none are named) of one family of a part, in the family's types.

    No rows when the family was not made. A column that the part was written without is NULL: schemas grow.
    """
    named = schema_of(family).names if columns is None else columns
    names = list(dict.fromkeys(["sample_id", *named]))
    path = part.path(family)
    if not storage.exists(path):
        return pa.schema([field_of(family, name) for name in names]).empty_table()
    table = storage.read_parquet(path, None if columns is None else names)
    if columns is None and family in OPEN:
        names = list(dict.fromkeys([*names, *table.column_names]))
    written = set(table.column_names)
    fields = [field_of(family, name) for name in names]
    return pa.table(
        [as_type(table[f.name], f.type) if f.name in written else pa.nulls(len(table), f.type) for f in fields], names=names
    )


def locate(sorted_ids: np.ndarray, ids: np.ndarray) -> pa.Array:
    """For each of ids uint64[N] its index in `sorted_ids`, NULL where it is absent: int64[N]."""
    if len(sorted_ids) == 0:
        return pa.nulls(len(ids), pa.int64())
    index = np.searchsorted(sorted_ids, ids)
    index[index == len(sorted_ids)] = 0
    return pa.array(index, mask=sorted_ids[index] != ids)
