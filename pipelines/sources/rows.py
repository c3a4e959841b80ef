"""A run of rows of a published file, as read, and how a text file writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from infra.compat.errors import RequestError


class NoRows(RequestError):
    """A file without rows: it need not stop the ingestion of others."""


@dataclass
class Rows:
    """A run of rows: `table` of the sound ones and their offsets in the run; (offset, reason, raw) of the broken ones.

    The table may have only the columns that are read; `file_columns` are all that the file has, by which its variant is known.
    """

    table: pa.Table
    offsets: Sequence[int] | None = None  # None: every row is sound
    rejects: list[tuple[int, str, str]] = field(default_factory=list)
    file_columns: Sequence[str] | None = None  # None: those of the table


@dataclass(frozen=True)
class TextForm:
    """What a text file is.

    kind       csv: separated, with quotes; tsv: two columns beside one tab; lines, array, objects: JSON
    columns    in the order of the fields of its records
    separator  of csv
    escapes_quotes  of csv: by backslashes, instead of doubling them
    header     the names in its first line, where that names the columns
    header_names  what a further header may hold in the place of a URL
    url        which of the columns holds the URL
    spellings  of JSON objects: for each column the names that objects may have for it, its own first
    notice     what a person should know, "" if all is as published
    newline    what ends a line, as of `io.TextIOWrapper`: "" for all usual ways. In tsv and JSON a carriage return alone is text,
               unless the file has no other end of a line
    """

    kind: str
    columns: tuple[str, ...]
    separator: str = ""
    header: tuple[str, ...] = ()
    header_names: tuple[str, ...] = ()
    url: int = 0
    spellings: tuple[tuple[str, ...], ...] = ()
    notice: str = ""
    newline: str = ""
    escapes_quotes: bool = False
