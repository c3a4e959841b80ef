"""explain SAMPLE_ID: everything known about one sample: its source row, scores, reasons, download, duplicates, shard."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import duckdb

from infra.compat.errors import RequestError
from pipelines.manifest import connect
from pipelines.manifest.ids import FILE_BITS, ROW_BITS
from pipelines.manifest.parts import read_files
from pipelines.manifest.storage import Storage
from pipelines.runtime import command_line
from pipelines.runtime.terminal import printable

FAMILIES = ("samples", "tags", "rejects", "fetch", "scores", "stage1", "stage2", "dedup", "captions")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Prints what every family holds of the sample; its counts are the same as JSON."""
    parser = command_line.parser("explain", __doc__ or "")
    parser.add_argument("sample_id", type=_sample_id, metavar="SAMPLE_ID", help="decimal, or the 16 hex digits of a shard's key")
    options = parser.parse_args(argv)
    storage = Storage(options.root)
    command_line.require_parts(storage)
    families = explain(storage, connect(options.root), options.sample_id)
    for family, row in families.items():
        sys.stdout.write(f"{family}\n")
        for name, value in row.items():
            sys.stdout.write(f"  {name:<18} {printable(str(value))}\n")
    return families


def _sample_id(text: str) -> int:
    try:
        return int(text, 16) if len(text) == 16 else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no sample ID; give a number, or 16 hex digits") from None


def explain(storage: Storage, connection: duckdb.DuckDBPyConnection, sample_id: int) -> dict[str, dict[str, Any]]:
    """The rows of a sample: family → column → value, without NULLs. RequestError when no family has one."""
    rows: dict[str, dict[str, Any]] = {}
    exports = [
        name for (name,) in connection.sql("select view_name from duckdb_views() where view_name like 'shards_%'").fetchall()
    ]
    for family in (*FAMILIES, *sorted(exports)):
        row = _row(connection, family, sample_id)
        if row is not None:
            rows[family] = row
    if not rows:
        raise RequestError(
            f'no sample or reject has the id {sample_id}; `pairmill sql "select sample_id from samples"` lists them'
        )
    copies = connection.sql(f"select list(sample_id order by sample_id) from dedup where duplicate_of = {sample_id}").fetchall()
    if copies and copies[0][0]:
        rows.setdefault("dedup", {})["copied_by"] = copies[0][0]
    source = {**rows.get("rejects", {}), **rows.get("samples", {})}.get("source")
    return {"source row": _origin(storage, source, sample_id), **rows}


def _row(connection: duckdb.DuckDBPyConnection, family: str, sample_id: int) -> dict[str, Any] | None:
    rows = (
        connection.sql(f'select * exclude (sample_id) from "{family}" where sample_id = {sample_id}').to_arrow_table().to_pylist()
    )
    return {name: value for name, value in rows[0].items() if value is not None} if rows else None


def _origin(storage: Storage, source: str | None, sample_id: int) -> dict[str, Any]:
    """Source, file and row of a sample; the bits of its id name file and row."""
    file = sample_id >> ROW_BITS & (1 << FILE_BITS) - 1
    files = {one.ordinal: one.uri for one in read_files(storage, source)} if source else {}
    return {"source": source, "file": files.get(file), "row": sample_id & (1 << ROW_BITS) - 1, "key": f"{sample_id:016x}"}


if __name__ == "__main__":
    command_line.run("explain", main)
