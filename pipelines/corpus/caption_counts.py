"""How many pictures of the whole corpus share each caption: exact, though only hashes travel between parts.

Captions are equal when their words are (case, width, punctuation and spacing folded); a picture is its URL. Each part writes
(hash of the caption, hash of the URL, sample_id), ranges of caption hashes are counted one by one, and the counts are scattered
back to their parts: the family `caption_counts`, a row for every sample whose caption `LEAST` pictures or more share.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import xxhash

from filters.duplicates.hashes import caption_key, hash_rows
from infra.compat.content import content_digest
from pipelines.manifest.join import read_family
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import fingerprint_of, read_receipts
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.shuffle import keys_between, rows_of_part, search_buckets
from pipelines.runtime.step import Outcome, PartResult, Step, run_step

FAMILY = "caption_counts"
LEAST = 4  # pictures: fewer are no repetition, and not worth a row
BUCKET_ROWS = 8_000_000


def count_captions(storage: Storage, parts: Sequence[Part]) -> Outcome:
    """Makes `caption_counts` of those parts that are ingested. `parts` are the whole corpus, as the counts are over them."""
    parts = list(read_receipts(storage, "samples", parts))
    hashed = run_step(storage, Step("caption_keys", ("samples",), lambda part: {}, _hash_part), parts)
    if hashed.failed:
        return hashed
    keys = {str(part): receipt.digest for part, receipt in read_receipts(storage, "caption_keys", parts).items()}
    search = partial(_count, storage=storage, parts=parts)
    count = -(-sum(part.rows for part in parts) // BUCKET_ROWS)
    depends_on = {"content": content_digest(_count, packages=["filters", __name__]), "keys": fingerprint_of(keys)}
    buckets, failed = search_buckets(storage, FAMILY, count, depends_on, search)
    if failed:
        return Outcome(parts=len(parts), ran=hashed.ran, failed=failed)
    work = partial(_gather, buckets=list(buckets))
    return run_step(storage, Step("caption_counts", ("samples",), lambda part: {"buckets": buckets}, work), parts)


def _hash_part(storage: Storage, part: Part, reporter: Reporter) -> PartResult:
    samples = storage.read_parquet(part.path("samples"), ["sample_id", "url", "caption"])
    hashes = {
        "key": hash_rows(xxhash.xxh3_64_intdigest, "", caption_key(samples["caption"])),
        "picture": hash_rows(xxhash.xxh3_64_intdigest, "", samples["url"]),
        "sample_id": samples["sample_id"],
    }
    reporter(part.rows)
    # Sorted by key, so that a bucket reads one run of rows of each part.
    return PartResult(pa.table(hashes).sort_by([("key", "ascending"), ("sample_id", "ascending")]))


def _count(low: int, high: int, *, storage: Storage, parts: Sequence[Part]) -> pa.Table:
    """The counts of captions whose hash is in low … high: sample_id, pictures."""
    table = pa.concat_tables([keys_between(storage, part.path("caption_keys"), low, high) for part in parts])
    return pictures_of(*(table[name].to_numpy() for name in ("key", "picture", "sample_id")))


def pictures_of(keys: np.ndarray, pictures: np.ndarray, ids: np.ndarray) -> pa.Table:
    """(sample_id, pictures) of the samples whose key has `LEAST` distinct pictures or more, by sample_id.

    Keys, pictures and ids are uint64[N], a row per sample.
    """
    order = np.lexsort((pictures, keys))
    keys, pictures = keys[order], pictures[order]
    new_key = np.ones(len(keys), bool)
    new_key[1:] = keys[1:] != keys[:-1]
    new_picture = new_key.copy()
    new_picture[1:] |= pictures[1:] != pictures[:-1]
    group = np.cumsum(new_key) - 1
    count = np.bincount(group, new_picture).astype(np.int32)[group]
    counts = pa.table({"sample_id": ids[order], "pictures": count}).filter(pa.array(count >= LEAST))
    return counts.sort_by("sample_id")


def _gather(storage: Storage, part: Part, reporter: Reporter, *, buckets: Sequence[str]) -> PartResult:
    ids = storage.read_parquet(part.path("samples"), ["sample_id"])["sample_id"].to_numpy()
    counts = rows_of_part(storage, buckets, ids)
    reporter(part.rows)
    return PartResult(counts)


def read_counts(storage: Storage, part: Part) -> pa.Table:
    """(sample_id, pictures) of the samples of a part whose caption `LEAST` pictures share or more."""
    return read_family(storage, part, FAMILY, ["pictures"])
