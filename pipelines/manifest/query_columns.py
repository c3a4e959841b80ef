"""Which columns of the view `manifest` a query uses, so that families it does not use are not joined.

The query is read by DuckDB's own parser. What is not understood counts as using every column: a wrong guess may cost time,
never a row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

VIEW = "manifest"
WITH = re.compile(r"\s*with\s+(recursive\s+)?", re.IGNORECASE)


def used_columns(connection: duckdb.DuckDBPyConnection, query: str) -> frozenset[str] | None:
    """The names that a query of the view mentions, in lower case, columns among them; None where it may use any column.

    None too for a query that does not name the view, and for one that is no SELECT that the parser can write down.
    """
    if VIEW not in query.lower():
        return None
    document = json.loads(connection.execute("select json_serialize_sql(?::varchar)", [query]).fetchall()[0][0])
    if document.get("error") or len(document["statements"]) != 1:
        return None
    nodes = list(_nodes(document))
    tables = [node for node in nodes if node.get("type") == "BASE_TABLE" and node["table_name"].lower() == VIEW]
    if not tables or any(node["schema_name"] or node["catalog_name"] or node["column_name_alias"] for node in tables):
        return None
    rows = [[(node["alias"] or VIEW).lower()] for node in tables]  # a table's name as a column is its whole row
    # ORDER BY ALL is written as a star, but uses only what is selected.
    sorting = {id(order["expression"]) for node in nodes for order in node.get("orders", [])}
    any_column = any(
        (node.get("class") == "STAR" and not (id(node) in sorting and node["expr"] is None))
        or node.get("class") == "POSITIONAL_REFERENCE"
        or node.get("ref_type") == "NATURAL"
        or "PIVOT" in str(node.get("type"))
        or [name.lower() for name in node.get("column_names") or []] in rows
        for node in nodes
    )
    if any_column:
        return None
    names = {name.lower() for node in nodes if node.get("class") == "COLUMN_REF" for name in node["column_names"]}
    return frozenset(names | {name.lower() for node in nodes for name in node.get("using_columns", [])})


def compares_rows(connection: duckdb.DuckDBPyConnection, query: str) -> bool:
    """Whether a query of the view has a window over its rows, or reads the view a second time."""
    document = json.loads(connection.execute("select json_serialize_sql(?::varchar)", [query]).fetchall()[0][0])
    nodes = list(_nodes(document))
    views = [node for node in nodes if node.get("type") == "BASE_TABLE" and node["table_name"].lower() == VIEW]
    return len(views) > 1 or any(node.get("class") == "WINDOW" for node in nodes)


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in the parse tree."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


def with_view(query: str, view: str) -> str:
    """The query with `manifest` meaning another query: a table expression that hides the view, for this query alone.

    It has a line of its own, so that an error met while rows are read shows the user's words alone; it calls their first line 2.
    """
    own = WITH.match(query)  # DuckDB loses the table expressions of a WITH below a WITH
    start, rest = (own[0], f",\n{query[own.end() :]}") if own else ("with ", f"\n{query}")
    return f"{start}{VIEW} as not materialized ({view}){rest}"
