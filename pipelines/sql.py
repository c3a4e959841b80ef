"""sql "SELECT …": DuckDB over the manifest. Views: `manifest` (a row per sample) and one per family.

The view of the family fetch is `fetched` too: SQL reserves the word fetch, as it does offset, so these want double quotes.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from infra.compat.errors import RequestError
from pipelines.runtime.exit_status import DONE, failures_in_one_line
from pipelines.runtime.parser import Parser
from pipelines.runtime.terminal import printable

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("table", "json", "csv", "parquet")


def main(argv: Sequence[str] | None = None) -> int:
    """Answers one query on stdout; returns the exit status, or ends the process with it."""
    parser = Parser(prog="pairmill sql", description=__doc__)
    root = os.environ.get("PAIRMILL_ROOT")
    parser.add_argument("query", metavar="QUERY", help='e.g. "select source, count(*) from manifest group by 1"')
    parser.add_argument("--root", default=root, required=root is None, metavar="URI", help="the manifest (or PAIRMILL_ROOT)")
    parser.add_argument("--format", choices=FORMATS, default="table")
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    options = parser.parse_args(argv)
    with failures_in_one_line("sql"):
        answer(options.root, options.query, options.format)
    return DONE


def answer(root: str, query: str, format: str) -> None:
    """Writes the query's rows to stdout in a format; RequestError in one line when it cannot be answered."""
    import duckdb

    from pipelines.manifest import connect
    from pipelines.manifest.parts import is_manifest
    from pipelines.manifest.storage import Storage

    storage = Storage(root)
    if not is_manifest(storage):
        storage.require_readable()
        raise RequestError(f"--root {root} holds no manifest; run `pairmill ingest` first, or check the root")
    try:
        relation = connect(root).sql(query)
        if relation is None:
            raise RequestError("the query has no rows as its answer; write a SELECT")
        if format == "table":
            shown = io.StringIO()
            with contextlib.redirect_stdout(shown):
                relation.show(max_rows=1000)
            # Captions are untrusted text: nothing in them may control a terminal.
            sys.stdout.write(printable(shown.getvalue()))
            return
        _write(relation.to_arrow_table(), format)
    except duckdb.Error as error:
        raise RequestError(" ".join(str(error).split())) from None


def _write(table: pa.Table, format: str) -> None:
    import json

    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if format == "json":
        names = _distinct(table.column_names)
        for row in table.rename_columns(names).to_pylist():
            sys.stdout.write(json.dumps(_json_value(row), ensure_ascii=False, default=str) + "\n")
        return
    try:
        if format == "parquet":
            pyarrow.parquet.write_table(table, sys.stdout.buffer)
        else:
            pyarrow.csv.write_csv(_without_nested(table), sys.stdout.buffer)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        cause = " ".join(str(error).split())
        raise RequestError(f"{format} cannot hold an answer like this ({cause}); cast the column to varchar") from None


def _distinct(names: Sequence[str]) -> list[str]:
    """The names of the columns, a repeated one with a number behind it: `a`, `a_1`. A JSON object holds a name once."""
    distinct: list[str] = []
    for name in names:
        numbered, number = name, 0
        while numbered in distinct:
            number += 1
            numbered = f"{name}_{number}"
        distinct.append(numbered)
    return distinct


def _json_value(value: Any) -> Any:
    """A value as JSON has it: sums of integers, which are decimals in Arrow, are numbers; NaN and infinities are null."""
    if isinstance(value, dict):
        return {str(name): _json_value(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_json_value(inner) for inner in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _without_nested(table: pa.Table) -> pa.Table:
    """Lists, structs and maps as JSON text: csv has none."""
    import json

    import pyarrow as pa

    columns = [
        pa.array(
            [None if v is None else json.dumps(_json_value(v), ensure_ascii=False, default=str) for v in column.to_pylist()],
            pa.string(),
        )
        if pa.types.is_nested(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)


if __name__ == "__main__":
    sys.exit(main())
