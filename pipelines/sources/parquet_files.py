"""Reads published parquet files on any fsspec URI: columns, row count, and a run of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from infra.compat.content import State
from infra.compat.errors import RequestError
from infra.compat.files import file_system, open_file
from pipelines.sources.rows import Rows

PARQUET_MAGIC = b"PAR1"


def parquet_shape(uri: str) -> tuple[pa.Schema, int]:
    """The columns and the number of rows of a parquet file; RequestError for a broken one."""
    with naming_broken(uri), open_file(uri) as handle:
        parquet = pq.ParquetFile(handle)
        return parquet.schema_arrow, parquet.metadata.num_rows


@contextmanager
def naming_broken(uri: str) -> Iterator[None]:
    """RequestError that names the file, for Arrow's errors of broken parquet, some of which are an OSError without a number."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise
        raise RequestError(f"{uri} is a broken parquet file ({str(error).splitlines()[0]}); fetch it again") from None


class Span(NamedTuple):
    """Rows first … end of a row group that has `size` rows."""

    group: int
    first: int
    end: int
    size: int

    @property
    def is_whole(self) -> bool:
        """Whether these are all rows of the group."""
        return self.end - self.first == self.size


def parquet_rows(uri: str, first_row: int, rows: int, choose: Callable[[Sequence[str]], Iterable[str]]) -> Rows:
    """A run of rows of a parquet file: of its columns those that `choose` names, of its row groups those that hold the rows."""
    fs, path = file_system(uri)
    with naming_broken(uri), fs.open(path, "rb") as handle:
        parquet = pq.ParquetFile(handle, page_checksum_verification=True)
        names = parquet.schema_arrow.names
        columns = sorted(choose(names))
        tables = []
        for is_whole, spans in groupby(_spans(parquet.metadata, first_row, rows), lambda span: span.is_whole):
            if is_whole:
                tables.append(parquet.read_row_groups([span.group for span in spans], columns))
            else:
                tables += [_rows_of_cut_group(parquet, span, columns, (uri, fs.ukey(path))) for span in spans]
        return Rows(pa.concat_tables(tables), file_columns=names)


def _spans(metadata: pq.FileMetaData, first_row: int, rows: int) -> Iterator[Span]:
    start = 0
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).num_rows
        first, end = max(0, first_row - start), min(size, first_row + rows - start)
        if first < end:
            yield Span(group, first, end, size)
        start += size


_kept_group: dict[tuple[Any, ...], pa.Table] = State()


def _rows_of_cut_group(parquet: pq.ParquetFile, span: Span, columns: list[str], file: tuple[str, str]) -> pa.Table:
    """Some rows of a row group.

    Where the run of rows ends within the group, the next part of the file begins in it and is likely to be read by this process:
    one such group is kept. Without it a group that is cut into ten parts would be decoded ten times.
    """
    key = (*file, span.group, *columns)
    table = _kept_group.pop(key, None)
    if table is None:
        table = parquet.read_row_group(span.group, columns)
    _kept_group.clear()
    if span.end < span.size:
        _kept_group[key] = table
    return table.slice(span.first, span.end - span.first)
