"""Reads published parquet files on any fsspec URI: columns, row count, and a run of rows."""

from __future__ import annotations

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from infra.compat.errors import RequestError
from pipelines.sources.rows import Rows

PARQUET_MAGIC = b"PAR1"


def parquet_shape(uri: str) -> tuple[list[str], int]:
    """The columns and the number of rows of a parquet file; RequestError for a broken one."""
    try:
        with fsspec.open(uri, "rb") as handle:
            parquet = pq.ParquetFile(handle)
            return parquet.schema_arrow.names, parquet.metadata.num_rows
    except pa.ArrowInvalid as error:
        raise RequestError(f"{uri} is a broken parquet file ({str(error).splitlines()[0]}); fetch it again") from None


def parquet_rows(uri: str, first_row: int, rows: int) -> Rows:
    """A run of rows of a parquet file, by the row groups that hold it."""
    with fsspec.open(uri, "rb") as handle:
        parquet = pq.ParquetFile(handle)
        groups, start, skip = list[int](), 0, 0
        for group in range(parquet.num_row_groups):
            end = start + parquet.metadata.row_group(group).num_rows
            if end > first_row and start < first_row + rows:
                skip = first_row - start if not groups else skip
                groups.append(group)
            start = end
        return Rows(parquet.read_row_groups(groups).slice(skip, rows))
