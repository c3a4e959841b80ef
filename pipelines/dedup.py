"""dedup: which samples repeat another, and which show a picture of an evaluation set → the family `dedup`, with the evidence.

A copy is a sample with the same words (case, width, punctuation and spacing folded) and a picture within `dedup.distance` of one
that stays; the sample with the smallest id stays. Only hashes travel between parts: each part writes (caption hash, sample_id,
perceptual hash), buckets of caption hashes are searched one by one, and each part takes home its own rows. An evaluation
picture is matched by perceptual hash, then confirmed on pixels. Only samples that stage 1 keeps and fetch got are compared.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from PIL import Image

from filters.duplicates.hashes import caption_key
from filters.duplicates.index import keep_first, nearest, pairs_within
from pipelines import evalsets, job
from pipelines.columns import locate, read_part
from pipelines.engine import Made, Outcome, Step, run_items, run_step, start_ray
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import digest_of, fingerprint_of, read_receipts
from pipelines.manifest.storage import Storage
from pipelines.progress import Reporter
from pipelines.recipe import DedupSettings

INPUTS = ("samples", "fetch", "stage1")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Compares the corpus with itself and with evaluation sets."""
    parser = job.parser("dedup", __doc__ or "")
    parser.add_argument(
        "--against", action="append", default=[], metavar="NAME=URI", help="an evaluation set: a folder of pictures"
    )
    options = parser.parse_args(argv)
    settings = job.recipe_of(options).dedup
    storage = Storage(options.root)
    parts = job.require_parts(storage)
    start_ray(options.address)
    return job.summary(run_dedup(storage, parts, settings, evalsets.hash_sets(storage, options.against)))


def run_dedup(storage: Storage, parts: Sequence[Part], settings: DedupSettings, sets: Sequence[evalsets.EvalSet]) -> Outcome:
    """Hashes of parts, copies by bucket, then each part's own rows."""
    hashed = run_step(storage, Step("copy_keys", INPUTS, lambda part: {}, _hash_part), parts)
    if hashed.failed:
        return hashed
    buckets, failed = _search_buckets(storage, parts, settings)
    if failed:
        return Outcome(parts=len(parts), ran=hashed.ran, failed=failed)
    common: Mapping[str, Any] = {
        "buckets": buckets,
        "sets": evalsets.describe(sets),
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
    keys = [xxhash.xxh3_64_intdigest(key) for key in caption_key(table["caption"]).cast(pa.binary()).to_pylist()]
    hashes = pa.table({"key": pa.array(keys, pa.uint64()), "sample_id": table["sample_id"], "phash": table["fetch_phash"]})
    reporter(part.rows)
    # Sorted by key, so that a bucket reads its own run of each part.
    return Made(hashes.sort_by([("key", "ascending"), ("sample_id", "ascending")]))


def _search_buckets(storage: Storage, parts: Sequence[Part], settings: DedupSettings) -> tuple[dict[str, str], dict[str, str]]:
    """Finds copies in each bucket whose inputs changed; (path of its result → digest, bucket → cause of failure)."""
    inputs = fingerprint_of({str(part): receipt.digest for part, receipt in read_receipts(storage, "copy_keys", parts).items()})
    items = []
    for bucket in range(settings.buckets):
        fingerprint = fingerprint_of({"inputs": inputs, "bucket": bucket, "of": settings.buckets, "distance": settings.distance})
        items.append({"label": f"bucket {bucket}", "bucket": bucket, "target": f"partial/copies/{fingerprint}.parquet"})
    todo = [item for item in items if not storage.exists(str(item["target"]))]
    work = partial(_search_bucket, storage=storage, parts=parts, settings=settings)
    results = run_items(todo, work, name="copies", unit="buckets", total=len(todo))
    failed = {label: error for label, _, error in results if error}
    if failed:
        return {}, failed
    targets = [str(item["target"]) for item in items]
    storage.remove(set(storage.glob("partial/copies/*.parquet")) - set(targets))
    return {target: digest_of(storage.read(target)) for target in targets}, {}


def _search_bucket(
    item: dict[str, Any], reporter: Reporter, *, storage: Storage, parts: Sequence[Part], settings: DedupSettings
) -> dict[str, Any]:
    low = item["bucket"] * (1 << 64) // settings.buckets
    high = (item["bucket"] + 1) * (1 << 64) // settings.buckets - 1
    table = pa.concat_tables([_keys_between(storage, part, low, high) for part in parts]).sort_by("sample_id")
    first, second = pairs_within(table["key"].to_numpy(), table["phash"].to_numpy(), settings.distance)
    copy_of = keep_first(first, second, len(table))
    rows = np.flatnonzero(copy_of >= 0)
    ids, hashes = table["sample_id"].to_numpy(), table["phash"].to_numpy()
    found = pa.table(
        {
            "sample_id": ids[rows],
            "duplicate_of": ids[copy_of[rows]],
            "distance": np.bitwise_count(hashes[rows] ^ hashes[copy_of[rows]]).astype(np.int32),
        }
    )
    storage.write_parquet(item["target"], found)
    reporter(1)
    return {"copies": len(found)}


def _keys_between(storage: Storage, part: Part, low: int, high: int) -> pa.Table:
    bounds = (pc.field("key") >= pa.scalar(low, pa.uint64())) & (pc.field("key") <= pa.scalar(high, pa.uint64()))
    with storage.open(part.path("copy_keys")) as handle:
        return pq.read_table(handle, filters=bounds)


def _take_home(
    storage: Storage,
    part: Part,
    reporter: Reporter,
    *,
    settings: DedupSettings,
    sets: Sequence[evalsets.EvalSet],
    buckets: Sequence[str],
) -> Made:
    samples = storage.read_parquet(part.path("samples"), ["sample_id"])
    ids = samples["sample_id"].to_numpy()
    copies = pa.concat_tables([_rows_between(storage, path, ids) for path in buckets]).sort_by("sample_id")
    rows = locate(copies["sample_id"].to_numpy(), ids)
    matches = _eval_matches(storage, part, settings, evalsets.load(storage, sets))
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


def _rows_between(storage: Storage, path: str, ids: np.ndarray) -> pa.Table:
    table = storage.read_parquet(path)
    low, high = (pa.scalar(int(edge), pa.uint64()) for edge in (ids.min(initial=2**64 - 1), ids.max(initial=0)))
    return table.filter(pc.and_(pc.greater_equal(table["sample_id"], low), pc.less_equal(table["sample_id"], high)))


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
    own = evalsets.thumbnail(Image.open(io.BytesIO(data))).ravel()
    return next(((item, apart) for item, apart in near if np.abs(pixels[item] / 255.0 - own).mean() <= bound), None)


if __name__ == "__main__":
    job.run("dedup", main)
