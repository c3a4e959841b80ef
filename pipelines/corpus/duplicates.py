"""Samples that repeat another, and samples that show a picture of an evaluation set → the family `dedup`, with the evidence.

A copy is a sample with the same words (case, width, punctuation and spacing folded) and a picture within `dedup.distance` of one
that stays; the sample with the smallest id stays. Only hashes are shuffled: each part writes (caption hash, sample_id, picture
hash), ranges of caption hashes are searched one by one, and the results are scattered back to their parts. A picture of an
evaluation set is found by PDQ, or where one of the two has none by the 64-bit hash. Only samples that stage 1 keeps are compared,
and with each other only those that were downloaded; others are compared with evaluation sets by their publisher's hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from filters.duplicates.hashes import PICTURE_HASH, caption_key, hash_rows, without_brightness
from filters.duplicates.index import keep_first, pairs_within
from infra.compat.content import content_digest
from pipelines.corpus.evaluation_search import EvalSet, eval_matches
from pipelines.corpus.evaluation_sets import describe
from pipelines.corpus.settings import DedupSettings
from pipelines.manifest.join import locate, read_columns
from pipelines.manifest.parts import Part
from pipelines.manifest.pictures import STORED
from pipelines.manifest.receipts import fingerprint_of, read_receipts
from pipelines.manifest.selection import WITH_PICTURE, columns_of, mask_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.picture_chunks import decode_ahead, distinct_pictures
from pipelines.runtime.progress import Reporter
from pipelines.runtime.shuffle import keys_between, rows_of_part, search_buckets
from pipelines.runtime.step import Outcome, PartResult, Step, run_step

INPUTS = ("samples", "fetch", "stage1")
HASH_BATCH = 256  # pictures decoded at once to be hashed


def run_dedup(storage: Storage, parts: Sequence[Part], settings: DedupSettings, sets: Sequence[EvalSet]) -> Outcome:
    """Makes `dedup` of these parts: hashes samples, searches copies bucket by bucket, scatters results back to parts."""
    hashed = run_step(storage, Step("copy_keys", INPUTS, lambda part: {"hash": PICTURE_HASH.column}, _hash_part), parts)
    if hashed.failed:
        return hashed
    keys = {str(part): receipt.digest for part, receipt in read_receipts(storage, "copy_keys", parts).items()}
    content = content_digest(_search, packages=["filters", __name__])
    depends_on = {"content": content, "keys": fingerprint_of(keys), "distance": settings.distance}
    search = partial(_search, storage=storage, parts=parts, settings=settings)
    buckets, failed = search_buckets(storage, "copies", settings.buckets, depends_on, search)
    if failed:
        return Outcome(parts=len(parts), ran=hashed.ran, failed=failed)
    common: Mapping[str, Any] = {
        "buckets": buckets,
        "sets": describe(sets),
        "eval": [settings.eval_distance, settings.eval_pdq_distance, settings.eval_both_distances, settings.eval_quality],
    }
    work = partial(_gather, settings=settings, sets=sets, buckets=list(buckets))
    outcome = run_step(storage, Step("dedup", INPUTS, lambda part: common, work, (eval_matches,)), parts)
    outcome.counts["reason.no_hash"] = hashed.counts["reason.no_hash"]
    for each in sets:
        outcome.failed |= {f"evaluation set {each.name}: {item}": fault for item, fault in each.faults.items()}
    return outcome


def _candidates(storage: Storage, part: Part, columns: Sequence[str]) -> pa.Table:
    """sample_id and these columns of the samples of a part that are compared."""
    table = read_columns(storage, part, dict.fromkeys([*columns, *columns_of(WITH_PICTURE)]))
    return table.filter(mask_of(table, WITH_PICTURE)).select(["sample_id", *columns])


def _hash_part(storage: Storage, part: Part, reporter: Reporter) -> PartResult:
    table = _candidates(storage, part, ["caption", *([PICTURE_HASH.column] if PICTURE_HASH.column else STORED)])
    keys = hash_rows(xxhash.xxh3_64_intdigest, "", caption_key(table["caption"]))
    hashes = pa.table({"key": keys, "sample_id": table["sample_id"], "phash": _picture_hashes(storage, table)})
    reporter(part.rows)
    # Sorted by key, so that a bucket reads one run of rows of each part.
    hashes = hashes.filter(pc.is_valid(hashes["phash"])).sort_by([("key", "ascending"), ("sample_id", "ascending")])
    return PartResult(hashes, {"reason.no_hash": len(table) - len(hashes)})


def _picture_hashes(storage: Storage, table: pa.Table) -> pa.Array | pa.ChunkedArray:
    """The hash of each row's picture, uint64[N]: of the manifest, or else of the stored pictures. NULL where there is none."""
    if PICTURE_HASH.column:
        return table[PICTURE_HASH.column]
    pictures, picture_of = distinct_pictures(table)
    hashes, is_known = np.zeros(len(pictures), np.uint64), np.zeros(len(pictures), bool)
    for _, _, indices, images in decode_ahead(storage, pictures, HASH_BATCH):
        if images:
            hashes[indices], is_known[indices] = PICTURE_HASH.of_images(images), True
    rows = np.asarray(picture_of, dtype=np.int64)
    return pa.array(hashes[rows], mask=~is_known[rows])


def _search(low: int, high: int, *, storage: Storage, parts: Sequence[Part], settings: DedupSettings) -> pa.Table:
    """The copies among samples whose caption hash is in low … high: sample_id, duplicate_of, distance."""
    tables = [keys_between(storage, part.path("copy_keys"), low, high) for part in parts]
    table = pa.concat_tables(tables).sort_by("sample_id")
    first, second = pairs_within(table["key"].to_numpy(), table["phash"].to_numpy(), settings.distance)
    copy_of = keep_first(first, second, len(table))
    rows = np.flatnonzero(copy_of >= 0)
    ids, hashes = table["sample_id"].to_numpy(), table["phash"].to_numpy()
    return pa.table(
        {
            "sample_id": ids[rows],
            "duplicate_of": ids[copy_of[rows]],
            "distance": np.bitwise_count(hashes[rows] ^ hashes[copy_of[rows]]).astype(np.int32),
        }
    )


def _gather(
    storage: Storage,
    part: Part,
    reporter: Reporter,
    *,
    settings: DedupSettings,
    sets: Sequence[EvalSet],
    buckets: Sequence[str],
) -> PartResult:
    """The family `dedup` of a part: its copies out of all buckets, and its evaluation pictures."""
    samples = storage.read_parquet(part.path("samples"), ["sample_id"])
    ids = samples["sample_id"].to_numpy()
    copies = rows_of_part(storage, buckets, ids)
    copy_rows = locate(copies["sample_id"].to_numpy(), ids)
    matches = eval_matches(_picture_hashes_of_part(storage, part), sets, settings)
    match_rows = locate(matches["sample_id"].to_numpy(), ids)
    table = pa.table(
        {
            "sample_id": samples["sample_id"],
            "duplicate_of": copies["duplicate_of"].take(copy_rows),
            "eval_match": matches["set"].take(match_rows),
            "eval_item": matches["item"].take(match_rows),
            "tier": matches["tier"].take(match_rows),
            "distance": pc.coalesce(matches["distance"].take(match_rows), copies["distance"].take(copy_rows)),
        }
    )
    reporter(part.rows)
    return PartResult(table, {"copies": len(copies), "eval_matches": len(matches)})


def _picture_hashes_of_part(storage: Storage, part: Part) -> pa.Table:
    """The hashes by which the pictures of a part are compared with evaluation sets, as `eval_matches` takes them."""
    table = read_columns(storage, part, dict.fromkeys(["pdq", "pdq_quality", "image_phash", *columns_of(WITH_PICTURE)]))
    keys = storage.read_parquet(part.path("copy_keys"), ["sample_id", "phash"]).sort_by("sample_id")
    is_stored = mask_of(table, WITH_PICTURE)
    is_elsewhere = pc.and_not(mask_of(table, WITH_PICTURE[1:]), is_stored)
    return pa.table(
        {
            "sample_id": table["sample_id"],
            "pdq": pc.if_else(is_stored, table["pdq"], pa.scalar(None, pa.string())),
            "pdq_quality": table["pdq_quality"],
            "phash": keys["phash"].take(locate(keys["sample_id"].to_numpy(), table["sample_id"].to_numpy())),
            "published": pc.if_else(is_elsewhere, without_brightness(table["image_phash"]), pa.scalar(None, pa.uint64())),
        }
    )
