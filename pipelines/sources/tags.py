"""Published tag tables (LAION's pwatermark, punsafe, aesthetic) → the family `tags`, joined to samples by LAION's hash.

A tag table is parquet with a column `hash` and one or more score columns, in any order and number of files. Where a hash occurs
twice the first score that is not NULL wins, in the order of the files. Samples and tables are joined bucket by bucket, so neither
has to fit in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial, reduce
from typing import Any

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters.duplicates.hashes import hash_rows
from infra.compat.content import content_digest
from infra.compat.files import open_file
from pipelines.manifest.join import locate
from pipelines.manifest.parts import Part, SourceFile
from pipelines.manifest.receipts import fingerprint_of, read_receipts
from pipelines.manifest.registry import read_records, register
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items
from pipelines.runtime.shuffle import keys_between, rows_of_part, search_buckets
from pipelines.runtime.step import Outcome, PartResult, Step, run_step
from pipelines.sources.laion import MODELS
from pipelines.sources.published import read_keys
from pipelines.sources.tag_tables import SKIPPED, TAGS, scores_in, sorted_tags

BUCKET_ROWS = 8_000_000


def register_tags(storage: Storage, source: str, tables: Sequence[SourceFile]) -> list[SourceFile]:
    """Adds tag tables to those of a source; returns all that were ever added, in order (their own ordinals are all 0)."""
    register(storage, f"tags/{source}", [asdict(table) for table in tables])
    return [SourceFile(**{**record, "ordinal": 0}) for record in read_records(storage, f"tags/{source}")]


def join_tags(storage: Storage, source: str, tables: Sequence[SourceFile], parts: Sequence[Part]) -> Outcome:
    """Makes `tags` of these parts: hashes samples, joins them with the tables bucket by bucket, scatters results to parts."""
    hashed = run_step(storage, Step("tag_keys", ("samples",), lambda part: {}, _hash_part), parts)
    if hashed.failed:
        return hashed
    models = _models(tables)
    keys = {str(part): receipt.digest for part, receipt in read_receipts(storage, "tag_keys", parts).items()}
    content = content_digest(_search, sorted_tags, packages=["filters", __name__, sorted_tags.__module__, read_keys.__module__])
    depends_on = {"content": content, "keys": fingerprint_of(keys), "tables": [asdict(table) for table in tables]}
    ordered = {
        f"partial/tag_tables/{source}/{fingerprint_of({'content': content, **asdict(table)})}.parquet": table.uri
        for table in tables
    }
    search = partial(_search, storage=storage, parts=parts, tables=list(ordered))
    count = -(-(sum(part.rows for part in parts) + sum(table.rows for table in tables)) // BUCKET_ROWS)
    failed = _sort_tables(storage, ordered)
    buckets: dict[str, str] = {}
    if not failed:
        buckets, failed = search_buckets(storage, f"tagged/{source}", count, depends_on, search)
    if failed:
        return Outcome(parts=len(parts), ran=hashed.ran, failed=failed)
    storage.remove(set(storage.glob(f"partial/tag_tables/{source}/*.parquet")) - set(ordered))
    work = partial(_gather, buckets=list(buckets), models=models)
    outcome = run_step(storage, Step("tags", ("samples",), lambda part: {"buckets": buckets, "models": models}, work), parts)
    outcome.counts["tag_rows_skipped"] = _skipped_rows(storage, ordered)
    return outcome


def laion_hash(urls: pa.ChunkedArray, captions: pa.ChunkedArray) -> np.ndarray:
    """The first 64 bits of murmur3-128 (x64, seed 0) of each URL followed by its caption, UTF-8: uint64[N].

    The same bits as in LAION's tables, which hold them as int64.
    """
    return hash_rows(lambda pair: mmh3.hash64(pair, signed=False)[0], "", urls, captions)


def _hash_part(storage: Storage, part: Part, reporter: Reporter) -> PartResult:
    # Where a source writes captions of its own, LAION's hash is over the page's text.
    table = storage.read_parquet(part.path("samples"), ["sample_id", "url", "caption", "alt_text"])
    keys = laion_hash(table["url"], pc.coalesce(table["alt_text"], table["caption"]))
    reporter(part.rows)
    return PartResult(
        pa.table({"key": keys, "sample_id": table["sample_id"]}).sort_by([("key", "ascending"), ("sample_id", "ascending")])
    )


def _sort_tables(storage: Storage, tables: dict[str, str]) -> dict[str, str]:
    """Writes the table of each URI to its path, ordered by hash, unless it exists; returns causes of failure by URI."""
    items = [{"label": uri, "uri": uri, "target": target} for target, uri in tables.items() if not storage.exists(target)]

    def work(item: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
        storage.write_parquet(item["target"], sorted_tags(item["uri"]))
        reporter(1)
        return {}

    results = run_items(items, work, name="tag tables", unit="files", total=len(items))
    return {label: error for label, _, error in results if error}


def _skipped_rows(storage: Storage, paths: Iterable[str]) -> int:
    """How many rows of the sorted tables' originals could not be read."""
    counts = []
    for path in paths:
        with storage.open(path) as handle:
            counts.append(int(pq.read_schema(handle).metadata[SKIPPED.encode()]))
    return sum(counts)


def _models(tables: Sequence[SourceFile]) -> dict[str, str]:
    models: dict[str, str] = {}
    for table in tables:
        with open_file(table.uri) as handle:
            names = pq.read_schema(handle).names
        for ours, (_, published) in scores_in(names).items():
            models.setdefault(ours, MODELS[published])
    return dict(sorted(models.items()))


def _search(low: int, high: int, *, storage: Storage, parts: Sequence[Part], tables: Sequence[str]) -> pa.Table:
    """The tags of samples whose hash is in low … high."""
    samples = pa.concat_tables([keys_between(storage, part.path("tag_keys"), low, high) for part in parts])
    keys = samples["key"].to_numpy()
    best = {name: pa.nulls(len(samples), pa.float32()) for name in TAGS}
    for path in tables:
        table = keys_between(storage, path, low, high)
        for name in TAGS:
            known = table.filter(pc.is_valid(table[name]))
            first = locate(known["key"].to_numpy(), keys)
            best[name] = pc.coalesce(best[name], known[name].combine_chunks().take(first))
    tagged = pa.table({"sample_id": samples["sample_id"], **best})
    return tagged.filter(reduce(pc.or_, map(pc.is_valid, best.values()))).sort_by("sample_id")


def _gather(storage: Storage, part: Part, reporter: Reporter, *, buckets: Sequence[str], models: dict[str, str]) -> PartResult:
    samples = storage.read_parquet(part.path("samples"), ["sample_id"])
    tagged = rows_of_part(storage, buckets, samples["sample_id"].to_numpy()).select(["sample_id", *TAGS])
    reporter(part.rows)
    footer = {"pairmill.score_models": json.dumps(models, sort_keys=True)}
    return PartResult(tagged.replace_schema_metadata(footer), {"tagged": len(tagged)})
