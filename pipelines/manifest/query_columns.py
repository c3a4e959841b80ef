"""Which columns of the view `manifest` a query uses, so that families it does not use are not joined.

The query is read by DuckDB's own parser. What is not understood counts as using every column: a wrong guess may cost time,
never a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

VIEW = "manifest"


@dataclass(frozen=True)
class ViewUse:
    """How one query uses `manifest`.

    columns  the names the query mentions, in lower case; None when it may use any column
    places   where in the query's UTF-8 bytes the view is named, and whether it is given another name there
    """

    columns: frozenset[str] | None
    places: tuple[tuple[int, bool], ...]


def use_of_view(connection: duckdb.DuckDBPyConnection, query: str) -> ViewUse | None:
    """How the query uses the view; None when it does not name it, or is no SELECT that the parser can write down."""
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
    star = any(
        (node.get("class") == "STAR" and not (id(node) in sorting and node["expr"] is None))
        or node.get("ref_type") == "NATURAL"
        or "PIVOT" in str(node.get("type"))
        or [name.lower() for name in node.get("column_names") or []] in rows
        for node in nodes
    )
    names = {name.lower() for node in nodes if node.get("class") == "COLUMN_REF" for name in node["column_names"]}
    names |= {name.lower() for node in nodes for name in node.get("using_columns", [])}
    places = tuple((node["query_location"], bool(node["alias"])) for node in tables)
    return ViewUse(None if star else frozenset(names), places)


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in the parse tree."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


def with_view(query: str, use: ViewUse, view: str) -> str:
    """The query with `manifest` replaced by another view, which it goes on calling `manifest`."""
    data = query.encode()
    for place, has_alias in sorted(use.places, reverse=True):
        quoted = data[place : place + 1] == b'"'
        end = place + len(VIEW) + 2 * quoted
        if data[place:end].decode(errors="replace").strip('"').lower() != VIEW:
            return query
        data = data[:place] + view.encode() + (b"" if has_alias else f" as {VIEW}".encode()) + data[end:]
    return data.decode()
