"""Reads published files on any fsspec URI: columns, row count, and a run of rows, for each format.

A row that the format itself breaks (a csv record with too many fields, bytes that are not UTF-8) keeps its row number and is
returned as a reject.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import fsspec
import pyarrow as pa

from infra.compat.errors import RequestError
from pipelines.manifest.parts import SourceFile
from pipelines.sources.parquet_files import PARQUET_MAGIC, parquet_rows, parquet_shape
from pipelines.sources.rows import Rows
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Source

csv.field_size_limit(1 << 30)  # captions of 100 KB are data, not an error


def expand(patterns: Sequence[str]) -> list[str]:
    """The files that paths and glob patterns name, each once; RequestError for one that names none."""
    uris: dict[str, None] = {}
    for pattern in patterns:
        fs, path = fsspec.core.url_to_fs(pattern)
        names = sorted(fs.glob(path)) if any(c in pattern for c in "*?[") else [path] if _is_file(fs, path) else []
        if not names:
            raise RequestError(f"no such file: {pattern}; name files, or a pattern in quotes")
        uris |= dict.fromkeys(fs.unstrip_protocol(name) for name in names)
    return list(uris)


def _is_file(fs: fsspec.AbstractFileSystem, path: str) -> bool:
    """Whether there is a file; unlike fsspec's own, raises an error that is of another kind than a missing file."""
    try:
        return bool(fs.info(path)["type"] == "file")
    except FileNotFoundError as error:
        cause = error.__cause__  # over http every error is a missing file, and its cause says more
        if cause is not None and (getattr(cause, "status", 404) != 404 or isinstance(cause, OSError)):
            raise cause from None
        return False


@dataclass(frozen=True)
class Inspected:
    """A file as it will be registered (ordinal 0), and what a person should know of how it is read."""

    file: SourceFile
    notice: str = ""


def inspect(uri: str, source: Source, settings: IngestSettings) -> Inspected:
    """The file and a notice; RequestError when it cannot be of that source."""
    fs, path = fsspec.core.url_to_fs(uri)
    info = fs.info(path)
    if info["size"] == 0:
        raise RequestError(f"{uri} is empty (0 bytes); leave it out or fetch it again")
    with fs.open(path, "rb") as handle:
        is_parquet = handle.read(4) == PARQUET_MAGIC
    if source.format == "parquet" and not is_parquet:
        raise RequestError(f"{uri} is not parquet, but {source.name} is published as parquet; check SOURCE or the file")
    schema, rows = parquet_shape(uri) if is_parquet else _text_shape(uri, source)
    source.require_columns(schema.names, uri, settings)
    source.require_types(schema, uri, settings)
    if rows == 0:
        raise RequestError(f"{uri} has no rows; leave it out or fetch it again")
    return Inspected(SourceFile(uri, 0, rows, info["size"], stamp_of(info)), source.notice(schema.names, settings))


def stamp_of(info: Mapping[str, Any]) -> str:
    """The part of a file system's information that changes when the file is written again: an ETag or a modification time."""
    return str(info.get("ETag") or info.get("mtime") or info.get("LastModified") or "")


def _text_shape(uri: str, source: Source) -> tuple[pa.Schema, int]:
    header, records = _records(uri, source)
    return pa.schema([(name, pa.string()) for name in header]), sum(1 for _ in records)


def _records(uri: str, source: Source) -> tuple[list[str], Iterator[list[str | None]]]:
    """The column names and the records of a text format; undecodable bytes come as lone surrogates."""
    if source.format == "json":
        return _json_records(uri, source)
    newline = "\n" if source.columns else ""
    handle = io.TextIOWrapper(fsspec.open(uri, "rb").open(), encoding="utf-8-sig", errors="surrogateescape", newline=newline)
    if not source.columns:
        rows = csv.reader(handle, delimiter="\t" if source.format == "tsv" else ",")
        return next(rows, []), (list(row) for row in rows)
    return list(source.columns), _tsv_records(handle, url_first=source.columns[0] == "url")


def _tsv_records(lines: Iterable[str], *, url_first: bool) -> Iterator[list[str | None]]:
    """A caption may hold tabs and a URL may not, so a line is split at the tab beside the URL; quotes mean nothing."""
    for line in lines:
        record = line.rstrip("\r\n")
        yield list(record.split("\t", 1) if url_first else record.rsplit("\t", 1))


def _json_records(uri: str, source: Source) -> tuple[list[str], Iterator[list[str | None]]]:
    with fsspec.open(uri, "rb") as handle:
        try:
            document = json.loads(handle.read().decode("utf-8", "surrogateescape"))
        except json.JSONDecodeError as error:
            raise RequestError(f"{uri} is no JSON ({error}), but {source.name} is published as JSON; check the file") from None
    arrays = {name: values for name, values in document.items() if isinstance(values, list)} if isinstance(document, dict) else {}
    source.require_columns(list(arrays), uri)
    names = sorted(in_file for in_file, _ in source.columns_read(list(arrays)).values())
    sizes = {name: len(arrays[name]) for name in names}
    if len(set(sizes.values())) > 1:
        raise RequestError(f"{uri} has arrays of unequal length ({sizes}); its rows cannot be told apart; fetch it again")
    return names, ([v if v is None else str(v) for v in row] for row in zip(*(arrays[name] for name in names), strict=True))


def read_rows(uri: str, source: Source, first_row: int, rows: int, settings: IngestSettings) -> Rows:
    """Rows first_row … first_row + rows of the file, as published; of parquet only the columns that are read."""
    with fsspec.open(uri, "rb") as handle:
        is_parquet = handle.read(4) == PARQUET_MAGIC
    if not is_parquet:
        return _text_rows(uri, source, first_row, rows)

    def columns_read(columns: Sequence[str]) -> set[str]:
        return {in_file for in_file, _ in source.columns_read(columns, settings).values()}

    return parquet_rows(uri, first_row, rows, columns_read)


def _text_rows(uri: str, source: Source, first_row: int, rows: int) -> Rows:
    header, records = _records(uri, source)
    sound, offsets, rejects = list[list[str | None]](), list[int](), list[tuple[int, str, str]]()
    for offset, record in enumerate(islice(records, first_row, first_row + rows)):
        raw = ",".join(value or "" for value in record)
        if len(record) != len(header):
            rejects.append((offset, "wrong_field_count", _printable(raw)))
        elif not raw.isascii() and any("\ud800" <= character <= "\udfff" for character in raw):
            rejects.append((offset, "invalid_utf8", _printable(raw)))
        else:
            sound.append(record)
            offsets.append(offset)
    columns = list(zip(*sound, strict=True)) or [()] * len(header)
    return Rows(pa.table({name: pa.array(c, pa.string()) for name, c in zip(header, columns, strict=True)}), offsets, rejects)


def _printable(raw: str) -> str:
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
