"""A run of rows of a published file, as read."""

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
