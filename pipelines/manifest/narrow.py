"""What a query asks of the view `manifest`: which columns, of which sources. DuckDB joins all that a view joins, wanted or not.

The query is read by DuckDB's own parser. What is not understood asks for everything: a wrong guess may cost time, never a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

VIEW = "manifest"


@dataclass(frozen=True)
class Asked:
    """What is asked of `manifest` in one query.

    columns  the names the query mentions, in lower case; None when it may want any column
    sources  the only sources its rows may come from; None when all may
    places   where in the query's UTF-8 bytes the view is named, and whether it is given another name there
    """

    columns: frozenset[str] | None
    sources: frozenset[str] | None
    places: tuple[tuple[int, bool], ...]


def read(connection: duckdb.DuckDBPyConnection, query: str) -> Asked | None:
    """What the query asks of the view; None when it does not name it, or is no SELECT that the parser can write down."""
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
    # ORDER BY ALL is written as a star, but wants only what is selected.
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
    return Asked(None if star else frozenset(names), _sources(nodes) if len(tables) == 1 else None, places)


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in the parse tree."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


def _sources(nodes: list[dict[str, Any]]) -> frozenset[str] | None:
    """The sources a plain `select … from manifest where source = …` allows; None for any other shape."""
    for node in nodes:
        table = node.get("from_table")
        if isinstance(table, dict) and table.get("type") == "BASE_TABLE" and table["table_name"].lower() == VIEW:
            allowed = [found for part in _conjuncts(node.get("where_clause")) if (found := _allows(part)) is not None]
            return frozenset.intersection(*allowed) if allowed else None
    return None


def _conjuncts(condition: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    if condition is None:
        return
    if condition.get("type") == "CONJUNCTION_AND":
        for child in condition["children"]:
            yield from _conjuncts(child)
    else:
        yield condition


def _allows(condition: dict[str, Any]) -> frozenset[str] | None:
    """The sources that `source = 'a'` or `source in ('a', 'b')` allows; None for any other condition."""
    match condition.get("type"):
        case "COMPARE_EQUAL":
            sides = [condition["left"], condition["right"]]
        case "COMPARE_IN":
            sides = condition["children"]
        case _:
            return None
    columns = [side for side in sides if side.get("class") == "COLUMN_REF"]
    constants = [side["literal"]["text"] for side in sides if side.get("literal", {}).get("kind") == "STRING"]
    is_source = len(columns) == 1 and columns[0]["column_names"][-1].lower() == "source"
    return frozenset(constants) if is_source and len(constants) == len(sides) - 1 else None


def renamed(query: str, asked: Asked, view: str) -> str:
    """The query with `manifest` replaced by another view, which it goes on calling `manifest`."""
    data = query.encode()
    for place, has_alias in sorted(asked.places, reverse=True):
        quoted = data[place : place + 1] == b'"'
        end = place + len(VIEW) + 2 * quoted
        if data[place:end].decode(errors="replace").strip('"').lower() != VIEW:
            return query
        data = data[:place] + view.encode() + (b"" if has_alias else f" as {VIEW}".encode()) + data[end:]
    return data.decode()
