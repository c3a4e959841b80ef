"""The manifest as SQL: one view per family, and `manifest`, a row per sample. Needs neither ray nor torch.

`manifest` joins the families by sample_id and source: DuckDB reads only the columns that a query uses, and only the folders
`source=…` that it allows. It would join families that a query does not use, so a query is run over a narrower `manifest`
without them (`query_columns.py`): a table expression in front of it, which leaves nothing on the connection. Where one family
has a row for every sample, and nothing else is used but ids and sources, that family is read alone and nothing is joined. A
query that does not bind over the narrower one is run as it is.
"""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from infra.compat.errors import RequestError
from pipelines.manifest import precedence, query_columns
from pipelines.manifest.layout import old_folders
from pipelines.manifest.precedence import LATEST_EXPORT, PRECEDENCE, SHARDS, families_of, places_of
from pipelines.manifest.query_columns import VIEW
from pipelines.manifest.score_columns import read_score_columns
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import FAMILIES, is_family, schema_of

if TYPE_CHECKING:
    import duckdb  # 12 MB that workers of jobs have no use for

TYPES = {
    "uint64": "UBIGINT",
    "string": "VARCHAR",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "bool": "BOOLEAN",
    "binary": "BLOB",
}
# SQL reserves the word: as a table it would have to be quoted.
SECOND_NAMES = {"fetch": ("fetched",)}
MEMORY = 6_000_000_000  # bytes
# Columns that every family has: its own sample_id, and the source in the name of its folder.
IN_EVERY_FAMILY = {"sample_id", "source"}
ALIASES = {family: f"f{place}" for place, family in enumerate(["samples", *precedence.FAMILIES])}


class Connection:
    """A DuckDB connection whose `sql`, `query` and `execute` leave out of the view `manifest` what a query does not use.

    Everything else is DuckDB's own connection.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, manifest: ManifestView) -> None:
        self._connection, self._manifest = connection, manifest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def sql(self, query: str, *arguments: Any, **options: Any) -> Any:
        """As DuckDB's."""
        return self._narrowed(self._connection.sql, query, arguments, options)

    query = sql

    def execute(self, query: str, *arguments: Any, **options: Any) -> Any:
        """As DuckDB's."""
        return self._narrowed(self._connection.execute, query, arguments, options)

    def _narrowed(self, run: Callable[..., Any], query: Any, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """Runs a query over a narrower `manifest` if it binds there, else as it is: its errors are about the user's own words."""
        import duckdb

        narrower = self._manifest.narrower(query) if isinstance(query, str) else None
        if narrower is not None:
            with suppress(duckdb.ProgrammingError, duckdb.DataError):  # the query as it is raises them in its own words
                return run(narrower, *arguments, **options)
        return run(query, *arguments, **options)


class ManifestView:
    """The view `manifest` on one connection, and queries of it that join fewer families."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, storage: Storage) -> None:
        self.connection, self.storage = connection, storage
        if old_folders(storage):
            raise RequestError(
                f"{storage.root} was written by an earlier version; run `pairmill status` once, which moves its folders"
            )
        folders = {path.split("/")[1] for path in storage.glob("manifest/*/source=*/*.parquet")}
        self.present = {name for name in folders if is_family(name)}
        latest = _latest_shards(storage)
        self.shards = latest if latest in self.present else SHARDS
        self.more_scores = read_score_columns(storage)
        self.columns = {name: places_of(name) for name in (*PRECEDENCE, *self.more_scores)}

    def make(self) -> None:
        """The view of each family, a second one where SQL reserves its name, and `manifest` whole."""
        for family in sorted(set(FAMILIES) | self.present):
            # A reject has no row in `samples` that would name its source.
            text = self._family(family, with_source=family == "rejects")
            for name in (family, *SECOND_NAMES.get(family, ())):
                self.connection.execute(f"create view {_quoted(name)} as {text}")
        self.connection.execute(f"create view {VIEW} as {self._joined(precedence.FAMILIES)}")

    def narrower(self, query: str) -> str | None:
        """The query over those families alone whose columns it uses; None where it may use all, or does not name the view."""
        # On a cursor: on the connection itself it would end a result that is still being read.
        names = query_columns.used_columns(self.connection.cursor(), query)
        if names is None:
            return None
        used = [column for column in self.columns if column.lower() in names]
        families = families_of(used)
        return query_columns.with_view(query, self._alone(used, families) or self._joined(families))

    def _alone(self, used: Sequence[str], families: Sequence[str]) -> str | None:
        """The view as a query of the one family that is used; None where it takes a join."""
        if len(families) != 1:
            return None
        (family,) = families
        own = [name for name, places in self.columns.items() if {place[0] for place in places} == {family}]
        table = self._table(family)
        if not set(used) <= {*own, *IN_EVERY_FAMILY} or self._rows(table) != self._rows("samples"):
            return None
        columns = [f"{_quoted(column)} as {_quoted(name)}" for name in own for _, column in self.columns[name]]
        return f"select {', '.join([*sorted(IN_EVERY_FAMILY), *columns])} from ({self._family(table, with_source=True)})"

    def _rows(self, family: str) -> dict[str, int]:
        """Rows of each part of a family that has any, by source and name of the part."""
        pattern = self._pattern(family)
        if pattern is None:
            return {}
        query = f"select file_name, num_rows from parquet_file_metadata({_text(pattern)})"
        rows = self.connection.cursor().execute(query).fetchall()
        return {"/".join(name.split("/")[-2:]): count for name, count in rows if count}

    def _joined(self, families: Sequence[str]) -> str:
        columns = [
            f"{precedence.sql_of(name, ALIASES)} as {_quoted(name)}"
            for name, places in self.columns.items()
            if {family for family, _ in places} <= {"samples", *families}
        ]
        text = f"select {', '.join(columns)} from ({self._family('samples')}) {ALIASES['samples']}"
        for family in families:
            table = self._family(self._table(family), with_source=True)
            text += f" left join ({table}) {ALIASES[family]} using (sample_id, source)"
        return text

    def _table(self, family: str) -> str:
        """The family by the name of its folder: that of the export made last for the shards."""
        return self.shards if family == SHARDS else family

    def _family(self, family: str, *, with_source: bool = False) -> str:
        """A family as a query, with the source of each row on request; no rows where it was not made.

        A part written before a column existed has NULL in it.
        """
        schema = {field.name: _type(field.type) for field in schema_of(family)}
        schema |= dict.fromkeys(self.more_scores, "FLOAT") if family == "scores" else {}
        pattern = self._pattern(family)
        names = [*schema, *(["source"] if with_source and "source" not in schema else [])]
        columns = ", ".join(map(_quoted, names))
        if pattern is None:
            types = {"source": "VARCHAR"} | schema
            return f"select {', '.join(f'null::{types[name]} as {_quoted(name)}' for name in names)} where false"
        # DuckDB takes the source from the folder's name, in `samples` too, and prunes by it.
        entries = [
            f"{_text(name)}: {{name: {_text(name)}, type: {_text(kind)}, default_value: NULL}}"
            for name, kind in schema.items()
            if name != "source"
        ]
        options = f"hive_partitioning = true, hive_types = {{source: VARCHAR}}, schema = map {{{', '.join(entries)}}}"
        return f"select {columns} from read_parquet({_text(pattern)}, {options})"

    def _pattern(self, family: str) -> str | None:
        """The pattern of a family's files; None where it was not made."""
        storage = self.storage
        if family not in self.present:
            return None
        scheme = "" if storage.is_local else storage.root.split("://")[0] + "://"
        return f"{scheme}{glob.escape(storage.base)}/manifest/{family}/source=*/*.parquet"


def connect(root: str) -> Any:
    """A DuckDB connection with a view per family and the view `manifest`.

    A family not yet made is an empty view, so its columns are NULL in `manifest`. Where several exports exist each has a
    view `shards_<name>`, and `manifest` shows the one made last (`exports/latest.json`). A query takes 6 GB of memory at most, or
    what the machine has, and then the folder of temporary files; `set memory_limit` on the connection changes that.
    """
    import duckdb

    storage = Storage(root)
    has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = {"memory_limit": f"{min(MEMORY, has * 4 // 5)}B", "temp_directory": tempfile.gettempdir()}
    connection = duckdb.connect(":memory:", config=limits)
    if not storage.is_local:
        connection.register_filesystem(storage.fs)
    manifest = ManifestView(connection, storage)
    manifest.make()
    return Connection(connection, manifest)


def _latest_shards(storage: Storage) -> str:
    """The family of the export made last; that of none where there is none."""
    if not storage.exists(LATEST_EXPORT):
        return SHARDS
    note = storage.read_json(LATEST_EXPORT)
    if not (isinstance(note, dict) and isinstance(note.get("family"), str)):
        raise storage.broken(LATEST_EXPORT, "JSON of an export", ValueError("it names none"))
    return str(note["family"])


def _type(arrow: pa.DataType) -> str:
    if pa.types.is_list(arrow):
        return f"{_type(arrow.value_type)}[]"
    if pa.types.is_struct(arrow):
        return f"STRUCT({', '.join(f'{_quoted(field.name)} {_type(field.type)}' for field in arrow)})"
    return TYPES[str(arrow)]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
