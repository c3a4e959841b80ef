"""A table as Parquet: zstd, a function of its contents alone (not of how its chunks lie in memory)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from inspect import signature
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# Columns whose values repeat; a dictionary on the others (URLs, captions, hashes) only costs time.
REPEATING = [
    "source",
    "language",
    "license",
    "status",
    "error",
    "mime",
    "tar",
    "tar_stamp",
    "shard",
    "split",
    "eval_match",
    "duplicate_kind",
    "variant",
    "tier",
    "reason",
]
REPEATING += ["reasons.list.element", "model", "prompt", "finish_reason"]
GROUP_ROWS = 1 << 17
LARGEST_PAGE, PAGE_HEADER = 2**31 - 1, 1 << 20  # bytes of a page of Parquet, and more than its header and levels take


def parquet_bytes(table: pa.Table, more: Iterable[pa.Table] = ()) -> pa.Buffer:
    """`table`, and the rows of `more` after its own, as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    write_parquet(table, sink, more)
    return sink.getvalue()


def write_parquet(table: pa.Table, where: Any, more: Iterable[pa.Table] = ()) -> None:
    """Writes `table`, and the rows of `more` after its own, to a path or an Arrow stream.

    Of vectors all rows are in memory at once, of other tables one row group.
    """
    vectors = {field.name: field.type.byte_width for field in table.schema if pa.types.is_fixed_size_binary(field.type)}
    leaves = {f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name: field.type for field in table.schema}
    # Ids and places count up, and sizes are small: as differences they are next to nothing. Other unsigned numbers are hashes:
    # nothing makes them smaller.
    small = [name for name, kind in leaves.items() if name == "sample_id" or pa.types.is_signed_integer(kind)]
    options: dict[str, Any] = {
        "compression": {
            name: "none" if pa.types.is_integer(kind) or name in vectors else "zstd" for name, kind in leaves.items()
        },
        "use_dictionary": [name for name in REPEATING if name in leaves],
        "column_encoding": dict.fromkeys(small, "DELTA_BINARY_PACKED") or None,
    }
    if vectors:
        options |= _one_page(max(1, *vectors.values()), leaves.keys() - vectors.keys())
        pq.write_table(pa.concat_tables([table, *more]).combine_chunks(), where, **options)
        return
    with pq.ParquetWriter(where, table.schema, **options) as writer:
        # A group at a time: a copy of a whole part may be as large as all else that a worker holds.
        for group in _groups(chain([table], more)):
            writer.write_table(group.combine_chunks(), row_group_size=GROUP_ROWS)
            del group  # it would be held until the next one is whole


def _groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The rows of one table or more by GROUP_ROWS, the last of fewer; without rows one table of none."""
    rest = next(tables)
    for table in chain(tables, [None]):
        while len(rest) > GROUP_ROWS:
            yield rest.slice(0, GROUP_ROWS)
            rest = rest.slice(GROUP_ROWS)
        if table is not None:
            rest = pa.concat_tables([rest, table])
    yield rest


def _one_page(width: int, others: Collection[str]) -> dict[str, Any]:
    """The options that put vectors of `width` bytes into one page a row group, so that they lie one behind the other and can be
    mapped; a page has less than 2 GiB.
    """
    rows = (LARGEST_PAGE - PAGE_HEADER) // width
    options = {"row_group_size": rows, "write_batch_size": rows, "data_page_size": LARGEST_PAGE}
    if "max_rows_per_page" in signature(pq.write_table).parameters:  # earlier releases have no such limit
        options["max_rows_per_page"] = rows
    return {**options, "write_statistics": sorted(others)}
