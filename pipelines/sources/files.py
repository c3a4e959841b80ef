"""Published files on any fsspec URI: columns, row count, and a run of rows. The format is recognised by content.

A row that the format itself breaks (a csv record with too many fields, bytes that are not UTF-8) keeps its row number and is
returned as a reject.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from infra.compat.files import file_system, open_file
from pipelines.manifest.parts import SourceFile
from pipelines.sources.parquet_files import PARQUET_MAGIC, parquet_rows, parquet_shape
from pipelines.sources.rows import NoRows, Rows
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Source
from pipelines.sources.text_files import text_rows, text_shape


@dataclass(frozen=True)
class Inspected:
    """A file as it will be registered (ordinal 0), and what a person should know of how it is read."""

    file: SourceFile
    notice: str = ""


def inspect(uri: str, source: Source, settings: IngestSettings) -> Inspected:
    """The file and a notice; RequestError when it cannot be of that source, NoRows when it is empty."""
    file = without_rows(uri)
    if file.size == 0:
        raise NoRows(f"{uri} is empty (0 bytes); leave it out or fetch it again")
    if _is_parquet(uri):
        (schema, rows), notices = parquet_shape(uri), list[str]()
    else:
        form, rows = text_shape(uri, source, settings)
        schema, notices = pa.schema([(name, pa.string()) for name in form.columns]), [form.notice]
    source.require_columns(schema.names, uri, settings)
    source.require_types(schema, uri, settings)
    if rows == 0:
        raise NoRows(f"{uri} has no rows; leave it out or fetch it again")
    notice = ", ".join(filter(None, [*notices, source.notice(schema.names, settings)]))
    return Inspected(replace(file, rows=rows), notice)


def without_rows(uri: str) -> SourceFile:
    """The file as it is registered where it has no rows."""
    fs, path = file_system(uri)
    info = fs.info(path)
    return SourceFile(uri, 0, 0, info["size"], stamp_of(info))


def stamp_of(info: Mapping[str, Any]) -> str:
    """The part of a file system's information that changes when the file is written again: an ETag or a modification time."""
    return str(info.get("ETag") or info.get("mtime") or info.get("LastModified") or "")


def read_rows(uri: str, source: Source, first_row: int, rows: int, settings: IngestSettings) -> Rows:
    """Rows first_row … first_row + rows of the file, as published; of parquet only the columns that are read."""
    if not _is_parquet(uri):
        return text_rows(uri, source, first_row, rows, settings)

    def columns_read(columns: Sequence[str]) -> set[str]:
        return {in_file for in_file, _ in source.columns_read(columns, settings).values()}

    return parquet_rows(uri, first_row, rows, columns_read)


def _is_parquet(uri: str) -> bool:
    with open_file(uri) as handle:
        start: bytes = handle.read(len(PARQUET_MAGIC))
    return start == PARQUET_MAGIC
