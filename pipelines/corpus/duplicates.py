"""Samples that repeat another, and samples that show a picture of an evaluation set → the family `dedup`, with the evidence.

A copy is a sample with the same words (case, width, punctuation and spacing folded) and a picture within `dedup.distance` of one
that stays; the sample with the smallest id stays. Only hashes are shuffled: each part writes (caption hash, sample_id, perceptual
hash), ranges of caption hashes are searched one by one, and the results are scattered back to their parts. An evaluation picture
is matched by perceptual hash, then confirmed on pixels. Only samples that stage 1 keeps and that were downloaded are compared.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from PIL import Image

from filters.duplicates.hashes import caption_key, hash_rows
from filters.duplicates.index import keep_first, nearest, pairs_within
from pipelines.corpus import evaluation_sets
from pipelines.corpus.settings import DedupSettings
from pipelines.manifest.join import locate, read_part
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import fingerprint_of, read_receipts
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.shuffle import keys_between, rows_home, run_buckets
from pipelines.runtime.step import Made, Outcome, Step, run_step

INPUTS = ("samples", "fetch", "stage1")


def run_dedup(
    storage: Storage, parts: Sequence[Part], settings: DedupSettings, sets: Sequence[evaluation_sets.EvalSet]
) -> Outcome:
    """Hashes of parts, copies by bucket, then each part's own rows."""
    hashed = run_step(storage, Step("copy_keys", INPUTS, lambda part: {}, _hash_part), parts)
    if hashed.failed:
        return hashed
    keys = {str(part): receipt.digest for part, receipt in read_receipts(storage, "copy_keys", parts).items()}
    depends_on = {"keys": fingerprint_of(keys), "distance": settings.distance}
    search = partial(_search, storage=storage, parts=parts, settings=settings)
    buckets, failed = run_buckets(storage, "copies", settings.buckets, depends_on, search)
    if failed:
        return Outcome(parts=len(parts), ran=hashed.ran, failed=failed)
    common: Mapping[str, Any] = {
        "buckets": buckets,
        "sets": evaluation_sets.describe(sets),
        "eval": [settings.eval_distance, settings.eval_pixel_error],
    }
    work = partial(_take_home, settings=settings, sets=sets, buckets=list(buckets))
    return run_step(storage, Step("dedup", INPUTS, lambda part: common, work), parts)


def _candidates(storage: Storage, part: Part, fetch: Sequence[str]) -> pa.Table:
    table = read_part(storage, part, {"samples": ["caption"], "fetch": ["status", *fetch], "stage1": ["keep"]})
    got = pc.fill_null(pc.equal(table["fetch_status"], "ok"), False)
    return table.filter(pc.and_(got, pc.fill_null(table["stage1_keep"], True)))


def _hash_part(storage: Storage, part: Part, reporter: Reporter) -> Made:
    table = _candidates(storage, part, ["phash"])
    keys = hash_rows(xxhash.xxh3_64_intdigest, "", caption_key(table["caption"]))
    hashes = pa.table({"key": keys, "sample_id": table["sample_id"], "phash": table["fetch_phash"]})
    reporter(part.rows)
    # Sorted by key, so that a bucket reads its own run of each part.
    return Made(hashes.sort_by([("key", "ascending"), ("sample_id", "ascending")]))


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


def _take_home(
    storage: Storage,
    part: Part,
    reporter: Reporter,
    *,
    settings: DedupSettings,
    sets: Sequence[evaluation_sets.EvalSet],
    buckets: Sequence[str],
) -> Made:
    samples = storage.read_parquet(part.path("samples"), ["sample_id"])
    ids = samples["sample_id"].to_numpy()
    copies = rows_home(storage, buckets, ids)
    rows = locate(copies["sample_id"].to_numpy(), ids)
    matches = _eval_matches(storage, part, settings, evaluation_sets.load(storage, sets))
    matched = locate(matches["sample_id"].to_numpy(), ids)
    table = pa.table(
        {
            "sample_id": samples["sample_id"],
            "duplicate_of": copies["duplicate_of"].take(rows),
            "eval_match": matches["set"].take(matched),
            "eval_item": matches["item"].take(matched),
            "distance": pc.coalesce(matches["distance"].take(matched), copies["distance"].take(rows)),
        }
    )
    reporter(part.rows)
    return Made(table, {"copies": len(copies), "eval_matches": len(matches)})


def _eval_matches(storage: Storage, part: Part, settings: DedupSettings, items: pa.Table) -> pa.Table:
    """sample_id, set, item, distance of samples that show one of the items, confirmed on pixels; in order."""
    table = _candidates(storage, part, ["phash", "tar", "offset", "length"])
    distinct, inverse = np.unique(table["fetch_phash"].to_numpy(), return_inverse=True)
    rows, columns, apart = nearest(distinct, items["phash"].to_numpy(), settings.eval_distance)
    near: dict[int, list[tuple[int, int]]] = {}
    for row, column, distance in zip(rows.tolist(), columns.tolist(), apart.tolist(), strict=True):
        near.setdefault(row, []).append((column, distance))
    found, seen = [], dict[tuple[str, int], tuple[int, int] | None]()
    pixels = (
        np.stack([np.frombuffer(raw, np.uint8) for raw in items["thumbnail"].to_pylist()]) if len(items) else np.zeros((0, 0))
    )
    pictures = table.select(["sample_id", "fetch_tar", "fetch_offset", "fetch_length"])
    suspects = np.flatnonzero(np.isin(inverse, list(near)))
    for row, picture in zip(suspects.tolist(), pictures.take(pa.array(suspects)).to_pylist(), strict=True):
        place = picture["fetch_tar"], picture["fetch_offset"]
        if place not in seen:
            data = storage.read_range(*place, picture["fetch_length"])
            seen[place] = _confirm(data, near[int(inverse[row])], pixels, settings.eval_pixel_error)
        if (match := seen[place]) is not None:
            found.append((picture["sample_id"], match))
    columns_of = pa.array([item for _, (item, _) in found], pa.int64())
    return pa.table(
        {
            "sample_id": pa.array([sample_id for sample_id, _ in found], pa.uint64()),
            "set": items["set"].take(columns_of),
            "item": items["item"].take(columns_of),
            "distance": pa.array([distance for _, (_, distance) in found], pa.int32()),
        }
    )


def _confirm(data: bytes, near: Sequence[tuple[int, int]], pixels: np.ndarray, bound: float) -> tuple[int, int] | None:
    """The nearest item whose thumbnail is within `bound` (mean absolute difference, 0 … 1) of the picture's."""
    own = evaluation_sets.thumbnail(Image.open(io.BytesIO(data))).ravel()
    return next(((item, apart) for item, apart in near if np.abs(pixels[item] / 255.0 - own).mean() <= bound), None)
