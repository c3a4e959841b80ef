"""A table as Parquet: zstd, a function of its contents alone (not of how its chunks lie in memory)."""

from __future__ import annotations

from collections.abc import Collection
from inspect import signature
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


def parquet_bytes(table: pa.Table) -> pa.Buffer:
    """`table` as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    write_parquet(table, sink)
    return sink.getvalue()


def write_parquet(table: pa.Table, where: Any) -> None:
    """Writes `table` to a path or an Arrow stream."""
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
        pq.write_table(table.combine_chunks(), where, **options)
        return
    with pq.ParquetWriter(where, table.schema, **options) as writer:
        # A group at a time: a copy of a whole part may be as large as all else that a worker holds.
        for start in range(0, max(1, len(table)), GROUP_ROWS):
            writer.write_table(table.slice(start, GROUP_ROWS).combine_chunks(), row_group_size=GROUP_ROWS)


def _one_page(width: int, others: Collection[str]) -> dict[str, Any]:
    """The options that put vectors of `width` bytes into one page a row group, so that they lie one behind the other and can be
    mapped; a page has less than 2 GiB.
    """
    rows = (LARGEST_PAGE - PAGE_HEADER) // width
    options = {"row_group_size": rows, "write_batch_size": rows, "data_page_size": LARGEST_PAGE}
    if "max_rows_per_page" in signature(pq.write_table).parameters:  # earlier releases have no such limit
        options["max_rows_per_page"] = rows
    return {**options, "write_statistics": sorted(others)}
