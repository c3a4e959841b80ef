"""Reads published parquet files on any fsspec URI: columns, row count, and a run of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from infra.compat.content import State
from infra.compat.errors import RequestError
from pipelines.sources.rows import Rows

PARQUET_MAGIC = b"PAR1"


def parquet_shape(uri: str) -> tuple[pa.Schema, int]:
    """The columns and the number of rows of a parquet file; RequestError for a broken one."""
    try:
        with fsspec.open(uri, "rb") as handle:
            parquet = pq.ParquetFile(handle)
            return parquet.schema_arrow, parquet.metadata.num_rows
    except pa.ArrowInvalid as error:
        raise RequestError(f"{uri} is a broken parquet file ({str(error).splitlines()[0]}); fetch it again") from None


def parquet_rows(uri: str, first_row: int, rows: int, choose: Callable[[Sequence[str]], Iterable[str]]) -> Rows:
    """A run of rows of a parquet file: of its columns those that `choose` names, of its row groups those that hold the rows."""
    fs, path = fsspec.core.url_to_fs(uri)
    with fs.open(path, "rb") as handle:
        parquet = pq.ParquetFile(handle)
        columns = tuple(sorted(choose(parquet.schema_arrow.names)))
        tables, start = list[pa.Table](), 0
        for group in range(parquet.num_row_groups):
            size = parquet.metadata.row_group(group).num_rows
            first, end = max(0, first_row - start), min(size, first_row + rows - start)
            if first < end:
                tables.append(_row_group(parquet, group, columns, (uri, fs.ukey(path)), end < size).slice(first, end - first))
            start += size
        return Rows(pa.concat_tables(tables))


_cut_group: dict[tuple[Any, ...], pa.Table] = State()


def _row_group(parquet: pq.ParquetFile, group: int, columns: tuple[str, ...], file: tuple[str, str], is_cut: bool) -> pa.Table:
    """These columns of a row group.

    Where the run of rows ends within the group, the next part of the file begins in it and is likely to be read by this process:
    one such group is kept. Without it a group that is cut into ten parts would be decoded ten times.
    """
    key = (*file, group, columns)
    table = _cut_group.pop(key, None)
    if table is None:
        table = parquet.read_row_group(group, list(columns))
    _cut_group.clear()
    if is_cut:
        _cut_group[key] = table
    return table
