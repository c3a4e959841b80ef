"""The manifest as SQL: one view per family, and `manifest`, a row per sample. Needs neither ray nor torch.

`manifest` joins the families by sample_id. A query pays only for the families whose columns it names, and, where it asks for some
sources alone, only for their files: it is given a view cut to that (`narrow.py`). Where one family has a row for every sample,
and of `samples` nothing is asked but ids and sources, that family alone is read and nothing is joined.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.manifest import narrow
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import FAMILIES, schema_of

TYPES = {
    "uint64": "UBIGINT",
    "string": "VARCHAR",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "bool": "BOOLEAN",
}

SHARDS = "the export made last"
MEMORY = 6_000_000_000  # bytes

# column of `manifest` → what it is, and the families that it needs besides `samples`
COLUMNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sample_id": ("s.sample_id", ()),
    "source": ("s.source", ()),
    "url": ("s.url", ()),
    "caption": ("s.caption", ()),
    "language": ("s.language", ()),
    "width": ("coalesce(f.width, s.width)", ("fetch",)),
    "height": ("coalesce(f.height, s.height)", ("fetch",)),
    "clip_similarity": ("coalesce(c.clip_similarity, s.clip_similarity)", ("scores",)),
    "watermark": ("coalesce(c.watermark, s.watermark, t.watermark)", ("scores", "tags")),
    "unsafe": ("coalesce(c.unsafe, s.unsafe, t.unsafe)", ("scores", "tags")),
    "aesthetic": ("coalesce(c.aesthetic, s.aesthetic, t.aesthetic)", ("scores", "tags")),
    "fetch_status": ("f.status", ("fetch",)),
    "fetch_error": ("f.error", ("fetch",)),
    "sha256": ("f.sha256", ("fetch",)),
    "phash": ("f.phash", ("fetch",)),
    "stage1_keep": ("one.keep", ("stage1",)),
    "stage1_reasons": ("one.reasons", ("stage1",)),
    "stage2_keep": ("two.keep", ("stage2",)),
    "stage2_reasons": ("two.reasons", ("stage2",)),
    "caption_language": ("two.language", ("stage2",)),
    "language_confidence": ("two.language_confidence", ("stage2",)),
    "caption_pictures": ("two.caption_pictures", ("stage2",)),
    "duplicate_of": ("d.duplicate_of", ("dedup",)),
    "eval_match": ("d.eval_match", ("dedup",)),
    "eval_distance": ("d.distance", ("dedup",)),
    "synthetic_caption": ("said.synthetic_caption", ("captions",)),
    "shard": ("x.shard", (SHARDS,)),
    "position": ("x.position", (SHARDS,)),
}
JOINED = {"fetch": "f", "scores": "c", "tags": "t", "stage1": "one", "stage2": "two", "dedup": "d", "captions": "said"}
JOINED[SHARDS] = "x"
# Columns of `samples` that a file's name and the ids in it tell as well.
IN_EVERY_FAMILY = {"sample_id", "source"}


class Connection:
    """A DuckDB connection whose `sql`, `query` and `execute` narrow the view `manifest` to what each query asks of it.

    Everything else is DuckDB's own connection.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, manifest: ManifestView) -> None:
        self._connection, self._manifest = connection, manifest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def sql(self, query: str, *arguments: Any, **options: Any) -> Any:
        """As DuckDB's."""
        return self._connection.sql(self._narrowed(query), *arguments, **options)

    query = sql

    def execute(self, query: str, *arguments: Any, **options: Any) -> Any:
        """As DuckDB's."""
        return self._connection.execute(self._narrowed(query), *arguments, **options)

    def _narrowed(self, query: str) -> str:
        # The parser is asked on a cursor: asking on the connection itself would end a result that is still being read.
        asked = narrow.read(self._connection.cursor(), query) if isinstance(query, str) else None
        return query if asked is None else narrow.renamed(query, asked, self._manifest.cut(asked))


class ManifestView:
    """Makes `manifest` and the cuts of it on one connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, storage: Storage) -> None:
        self.connection, self.storage = connection, storage
        self.present = {path.split("/")[1] for path in storage.glob("manifest/*/*")}
        self.sources = {path.split("/")[2] for path in storage.glob("manifest/samples/*")}
        latest = storage.read_json("exports/latest.json")["family"] if storage.exists("exports/latest.json") else "shards"
        self.shards = latest if latest in self.present else "shards"
        self.cuts: dict[str, str] = {}

    def make(self) -> None:
        """The view of each family, and `manifest` whole."""
        for family in sorted(set(FAMILIES) | self.present):
            self.connection.execute(f"create view {_quoted(family)} as {self._family(family)}")
        self.connection.execute(f"create view {narrow.VIEW} as {self._joined(list(JOINED), None)}")

    def cut(self, asked: narrow.Asked) -> str:
        """The name of a view with the families and sources that are asked for, made if need be."""
        families = tuple(JOINED)
        if asked.columns is not None:
            needed = {family for name in asked.columns if name in COLUMNS for family in COLUMNS[name][1]}
            families = tuple(family for family in JOINED if family in needed)
        sources = None if asked.sources is None else tuple(sorted(asked.sources & self.sources))
        if families == tuple(JOINED) and sources is None:
            return narrow.VIEW
        text = self._alone(asked, families, sources) or self._joined(families, sources)
        if text not in self.cuts:
            self.cuts[text] = f"{narrow.VIEW}_cut_{len(self.cuts)}"
            self.connection.execute(f"create or replace temp view {self.cuts[text]} as {text}")
        return self.cuts[text]

    def _alone(self, asked: narrow.Asked, families: Sequence[str], sources: Sequence[str] | None) -> str | None:
        """The view as a query of the one family that is asked for; None where it takes a join."""
        of_samples = {name for name, (_, needs) in COLUMNS.items() if not needs}
        if asked.columns is None or len(families) != 1 or asked.columns & of_samples - IN_EVERY_FAMILY:
            return None
        (family,) = families
        rows = self._rows("samples", sources)
        if family not in self.present or self._rows(family, sources) != rows:
            return None
        chosen = sorted({part.split("/")[0] for part in rows})
        parts = [f"select *, {_text(source)} as source from ({self._family(family, [source])})" for source in chosen]
        columns = {name: f"{JOINED[family]}.{name}" for name in sorted(IN_EVERY_FAMILY)}
        columns |= {name: expression for name, (expression, needs) in COLUMNS.items() if needs == (family,)}
        what = ", ".join(f"{expression} as {_quoted(name)}" for name, expression in columns.items())
        return f"select {what} from ({' union all by name '.join(parts)}) {JOINED[family]}" if parts else None

    def _rows(self, family: str, sources: Sequence[str] | None) -> dict[str, int]:
        """Rows of each part of a family that has any, by source and name of the part."""
        paths = self._paths(family, sources)
        if not paths:
            return {}
        files = ", ".join(_text(path) for path in paths)
        found = self.connection.execute(f"select file_name, num_rows from parquet_file_metadata([{files}])").fetchall()
        return {"/".join(name.split("/")[-2:]): rows for name, rows in found if rows}

    def _joined(self, families: Sequence[str], sources: Sequence[str] | None) -> str:
        columns = [
            f"{expression} as {_quoted(name)}" for name, (expression, needs) in COLUMNS.items() if set(needs) <= set(families)
        ]
        text = f"select {', '.join(columns)} from ({self._family('samples', sources)}) s"
        for family in families:
            table = self._family(self.shards if family == SHARDS else family, sources)
            text += f" left join ({table}) {JOINED[family]} using (sample_id)"
        return text

    def _family(self, family: str, sources: Sequence[str] | None = None) -> str:
        """A family as a query; of some sources alone where they are given. No rows where it was not made."""
        paths = self._paths(family, sources)
        if paths:
            return f"select * from read_parquet([{', '.join(_text(path) for path in paths)}])"
        columns = ", ".join(f"null::{_type(field.type)} as {_quoted(field.name)}" for field in schema_of(family))
        return f"select {columns} where false"

    def _paths(self, family: str, sources: Sequence[str] | None) -> list[str]:
        """The patterns of a family's files; none where it was not made."""
        storage = self.storage
        if family not in self.present:
            return []
        scheme = "" if storage.is_local else storage.root.split("://")[0] + "://"
        folders = ["*"] if sources is None else [s for s in sources if storage.glob(f"manifest/{family}/{s}/*.parquet")]
        return [scheme + storage.full(f"manifest/{family}/{folder}/*.parquet") for folder in folders]


def connect(root: str) -> Any:
    """A DuckDB connection with a view per family and the view `manifest`.

    A family not yet made is an empty view, so its columns are NULL in `manifest`. Where several exports exist each has a
    view `shards_<name>`, and `manifest` shows the one made last (`exports/latest.json`). A query takes 6 GB of memory at most, or
    what the machine has, and then the folder of temporary files; `set memory_limit` on the connection changes that.
    """
    storage = Storage(root)
    has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = {"memory_limit": f"{min(MEMORY, has * 4 // 5)}B", "temp_directory": tempfile.gettempdir()}
    connection = duckdb.connect(":memory:", config=limits)
    if not storage.is_local:
        connection.register_filesystem(storage.fs)
    manifest = ManifestView(connection, storage)
    manifest.make()
    return Connection(connection, manifest)


def _type(arrow: pa.DataType) -> str:
    return f"{_type(arrow.value_type)}[]" if pa.types.is_list(arrow) else TYPES[str(arrow)]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
