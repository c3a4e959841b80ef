"""SQL over the manifest: one DuckDB view per family, and `manifest`, which joins them, one row per sample."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from pipelines.manifest.schema import FAMILIES, schema_of
from pipelines.manifest.storage import Storage

TYPES = {
    "uint64": "UBIGINT",
    "string": "VARCHAR",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "bool": "BOOLEAN",
}

MANIFEST = """
create view manifest as
select s.sample_id, s.source, s.url, s.caption, s.language,
       coalesce(f.width, s.width) as width, coalesce(f.height, s.height) as height,
       coalesce(c.clip_similarity, s.clip_similarity) as clip_similarity,
       coalesce(c.watermark, s.watermark) as watermark,
       coalesce(c.unsafe, s.unsafe) as unsafe,
       coalesce(c.aesthetic, s.aesthetic) as aesthetic,
       f.status as fetch_status, f.error as fetch_error, f.sha256, f.phash,
       stage1.keep as stage1_keep, stage1.reasons as stage1_reasons,
       stage2.keep as stage2_keep, stage2.reasons as stage2_reasons,
       d.duplicate_of, d.eval_match, d.distance as eval_distance,
       captions.synthetic_caption, x.shard, x.position
from samples s
left join "fetch" f using (sample_id)
left join scores c using (sample_id)
left join stage1 using (sample_id)
left join stage2 using (sample_id)
left join dedup d using (sample_id)
left join captions using (sample_id)
left join {shards} x using (sample_id)
"""


def connect(root: str) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with a view per family and the view `manifest`.

    A family not yet made is an empty view, so its columns are NULL in `manifest`. Where several exports exist each has a
    view `shards_<name>`, and `manifest` shows the one made last (`exports/latest.json`).
    """
    storage = Storage(root)
    connection = duckdb.connect(":memory:")
    if not storage.is_local:
        connection.register_filesystem(storage.fs)
    present = {path.split("/")[1] for path in storage.glob("manifest/*/*")}
    for family in sorted(set(FAMILIES) | present):
        connection.execute(f"create view {_quoted(family)} as {_select(storage, family, family in present)}")
    latest = storage.read_json("exports/latest.json")["family"] if storage.exists("exports/latest.json") else "shards"
    connection.execute(MANIFEST.format(shards=_quoted(latest if latest in present else "shards")))
    return connection


def _select(storage: Storage, family: str, present: bool) -> str:
    if present:
        scheme = "" if storage.is_local else storage.root.split("://")[0] + "://"
        pattern = (scheme + storage.full(f"manifest/{family}/*/*.parquet")).replace("'", "''")
        return f"select * from read_parquet('{pattern}')"
    columns = ", ".join(f"null::{_type(field.type)} as {_quoted(field.name)}" for field in schema_of(family))
    return f"select {columns} where false"


def _type(arrow: pa.DataType) -> str:
    return f"{_type(arrow.value_type)}[]" if pa.types.is_list(arrow) else TYPES[str(arrow)]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
