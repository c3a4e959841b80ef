"""Joining the families of one part by sample_id, in memory: no shuffle at any scale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

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
    places, needed = _places(columns)
    samples = read_family(storage, part, "samples", needed.pop("samples"))
    return _joined(samples, {family: read_family(storage, part, family, names) for family, names in needed.items()}, places)


def column_slices(storage: Storage, part: Part, columns: Iterable[str], rows: int) -> Iterator[pa.Table]:
    """What `read_columns` returns, at most so many rows at a time, one table at least.

    The columns that `samples` gives are read as they are needed, captions above all; those of other families are read whole.
    """
    places, needed = _places(columns)
    own = needed.pop("samples")
    # In one piece each: to take rows of a column in pieces copies all of it, and rows are taken for each slice.
    others = {family: read_family(storage, part, family, names).combine_chunks() for family, names in needed.items()}
    for samples in _family_slices(storage, part, "samples", own, rows):
        yield _joined(samples, others, places)


_Places = dict[str, Sequence[tuple[str, str]]]  # of each column the (family, name) of its values, the preferred one first


def _places(columns: Iterable[str]) -> tuple[_Places, dict[str, list[str]]]:
    """Where the columns' values are, and family → the names to be read of it, of `samples` at least none."""
    places: _Places = {column: places_of(column) for column in columns if column != "sample_id"}
    needed: dict[str, list[str]] = {"samples": []}
    for family, name in dict.fromkeys(place for of_column in places.values() for place in of_column):
        needed.setdefault(family, []).append(name)
    return places, needed


def _joined(samples: pa.Table, others: Mapping[str, pa.Table], places: _Places) -> pa.Table:
    """A row per sample: sample_id and the columns, each of the first place that knows a value."""
    ids = samples["sample_id"].to_numpy()
    values = {("samples", name): samples[name] for name in samples.column_names}
    for family, table in others.items():
        rows = _rows_of(table, ids)
        values |= {(family, name): column for name, column in zip(table.column_names[1:], rows, strict=True)}
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
    return _in_types(table, family, names)


def _family_slices(storage: Storage, part: Part, family: str, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """What `read_family` returns, at most so many rows at a time, one table at least."""
    if not storage.exists(part.path(family)):
        yield read_family(storage, part, family, columns)
        return
    names = list(dict.fromkeys(["sample_id", *columns]))
    for table in storage.parquet_slices(part.path(family), names, rows):
        yield _in_types(table, family, names)


def _in_types(table: pa.Table, family: str, names: Sequence[str]) -> pa.Table:
    """The named columns in the family's types, NULL those that the table lacks."""
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
