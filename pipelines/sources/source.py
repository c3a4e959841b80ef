"""What a source is, and the columns it has to give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from infra.compat.errors import RequestError
from pipelines.sources.settings import IngestSettings

Columns = Mapping[str, pa.Array | pa.ChunkedArray]

TEXT = (pa.string(), pa.large_string())
NUMBER = r"^[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?$"
PUBLISHED: dict[str, pa.DataType] = {
    "url": pa.string(),
    "caption": pa.string(),
    "alt_text": pa.string(),
    "language": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "license": pa.string(),
    "clip_similarity": pa.float32(),
    "watermark": pa.float32(),
    "unsafe": pa.float32(),
    "aesthetic": pa.float32(),
    "image_phash": pa.uint64(),
    "image_hash": pa.string(),
}


@dataclass(frozen=True)
class Source:
    """A published corpus.

    name      as on the command line
    ordinal   its number in every sample_id: 1 … 255, never given twice
    title     its name in InternVL's Table 2
    format    how its files are written
    required  columns without which a file is not of this source
    convert   (raw table[N], settings) -> published columns by our names, each of length N; what it leaves out is NULL
    columns   url and caption, in the order of a tsv without a header; empty where the file names its columns
    models    the model behind each published score, for the file's footer; may depend on the settings
    """

    name: str
    ordinal: int
    title: str
    format: Literal["parquet", "csv", "tsv", "json"]
    required: frozenset[str]
    convert: Callable[[pa.Table, IngestSettings], Columns]
    columns: tuple[str, ...] = ()
    models: Callable[[Sequence[str], IngestSettings], Mapping[str, str]] = field(default=lambda columns, settings: {})

    def __post_init__(self) -> None:
        if not 0 < self.ordinal < 256:
            raise ValueError(f"source {self.name!r} has the ordinal {self.ordinal}; ordinals are 1 … 255")

    def require_columns(self, columns: Sequence[str], where: str) -> None:
        """Raises RequestError naming the columns a file lacks."""
        missing = sorted(self.required - set(columns))
        if missing:
            raise RequestError(
                f"{where} has no column {', '.join(missing)} (it has {', '.join(columns) or 'none'}), "
                f"so it is no {self.name} file; check SOURCE or the file"
            )

    def published(self, raw: pa.Table, settings: IngestSettings) -> pa.Table:
        """The raw rows as published columns: table[N] of the names and types in `PUBLISHED`."""
        converted = self.convert(raw, settings)
        columns = {name: _cast(converted.get(name), kind, len(raw)) for name, kind in PUBLISHED.items()}
        return pa.table(columns)


def _cast(column: pa.Array | pa.ChunkedArray | None, kind: pa.DataType, rows: int) -> pa.Array | pa.ChunkedArray:
    if column is None:
        return pa.nulls(rows, kind)
    if column.type in TEXT and (pa.types.is_floating(kind) or pa.types.is_signed_integer(kind)):
        column = _numbers(column)
    # Types drift between mirrors: sizes come as floats, with NaN or values past 2**31 among them.
    if pa.types.is_signed_integer(kind) and not column.type.equals(kind):
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_finite(column), column, None)
        in_range = pc.and_(pc.greater_equal(column, 0), pc.less(column, 2**31))
        return pc.if_else(in_range, column, None).cast(kind, safe=False)
    return column.cast(kind, safe=False)


def _numbers(text: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Text as float64[N], NULL where it is no number: what a csv or tsv gives."""
    trimmed = pc.ascii_trim_whitespace(text)
    return pc.if_else(pc.match_substring_regex(trimmed, NUMBER), trimmed, None).cast(pa.float64())
