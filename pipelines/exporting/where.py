"""The SQL condition of an export: which columns of the manifest it reads, and which rows of a part meet it."""

from __future__ import annotations

from collections.abc import Collection

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra.compat.errors import RequestError
from pipelines.manifest.precedence import PRECEDENCE, SHARDS, families_of, places_of
from pipelines.manifest.query_columns import VIEW, compares_rows, used_columns
from pipelines.manifest.tables import field_of

OF_EXPORTS = {column for column in PRECEDENCE if families_of([column]) == (SHARDS,)}


def columns_of_condition(condition: str, scores: Collection[str]) -> list[str]:
    """The columns of the manifest that a condition may read, given the names of all scores.

    RequestError for one that is no SQL condition on such columns, or that reads where an export has put samples.
    """
    columns = [name for name in dict.fromkeys([*PRECEDENCE, *scores]) if name not in OF_EXPORTS]
    rows = pa.schema([field_of(*places_of(name)[0]).with_name(name) for name in columns]).empty_table()
    meets(rows, condition)
    connection, query = duckdb.connect(), _query(condition)
    if compares_rows(connection, query):
        raise _no_condition(condition, "it looks at other samples too, and is asked of each by itself")
    names = used_columns(connection, query)
    return [name for name in columns if names is None or name.lower() in names]


def meets(rows: pa.Table, condition: str) -> pa.Array:
    """Whether each row of table[N] meets the condition; NULL is no: bool[N]. RequestError where it is no condition on a row."""
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("rows_of_part", rows.append_column("row_of_part", pa.array(np.arange(len(rows)))))
        connection.execute(f"create view {VIEW} as from rows_of_part")
        try:
            answers = connection.sql(_query(condition))
            kind, table = answers.types[1], answers.to_arrow_table()
        except duckdb.Error as error:
            raise _no_condition(condition, " ".join(str(error).split("\n\nLINE")[0].split())) from None
    if kind != "BOOLEAN":
        raise _no_condition(condition, f"it gives {kind}, not true or false")
    if len(table) != len(rows):
        raise _no_condition(condition, f"it gives {len(table):,} answers of {len(rows):,} samples")
    mask = np.zeros(len(rows), bool)
    mask[table["row_of_part"].to_numpy()] = pc.fill_null(table["met"], False).to_numpy()
    return pa.array(mask)


def _no_condition(condition: str, cause: str) -> RequestError:
    return RequestError(f"export.where {condition!r} is no condition on columns of the manifest: {cause}")


def _query(condition: str) -> str:
    # On lines of its own, so that a comment at its end does not hide the bracket.
    return f"select row_of_part, (\n{condition}\n) as met from {VIEW}"
