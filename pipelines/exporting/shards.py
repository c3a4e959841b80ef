"""Exports kept samples: plans of parts, shards, then each part's own rows.

A sample's place is a hash of its id, so the shuffle is global, needs no memory, and is the same at every run: each
part writes its kept samples in the order of the hash, each shard takes its range of hashes from every part, and where the samples
went is scattered back to their parts (the family `shards_<name>`).
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from infra.compat.content import content_digest
from infra.compat.errors import RequestError
from pipelines.exporting.claim import Claim, forget
from pipelines.exporting.pictures import LostPicture, read_picture
from pipelines.exporting.plan import HELD_OUT, TRAIN, TYPES, plan_part
from pipelines.exporting.settings import ExportSettings
from pipelines.manifest.parts import Part
from pipelines.manifest.precedence import LATEST_EXPORT
from pipelines.manifest.receipts import fingerprint_of, read_receipts
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import schema_of
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items
from pipelines.runtime.step import Outcome, PartResult, Step, run_step
from sharding.index import Shard, summary_bytes
from sharding.layout import SUMMARY, index_file, receipt_file, shard_name, split_of, tar_file
from sharding.sample import Sample, sample_json
from sharding.writer import write_shard

PLAN_SETTINGS = {"holdout", "seed", "captions", "synthetic_share"}
INPUTS = ("samples", "fetch", "stage1", "stage2", "dedup")
METADATA = ("url", "source", "language", "width", "height", "synthetic", "repaired")
# Readers take the types of json from the first samples that they see (Hugging Face datasets from five), so no value is null.
UNKNOWN = {"language": "", "width": 0, "height": 0}
REPORT_EVERY = 1000  # samples between two reports of progress
# So many rows of a split are cut into shards of equal size. Of more, each shard takes an equal range of the hash: none of so many
# is empty, and nothing has to see all rows.
MOST_RANKED = 1 << 20


def run_export(storage: Storage, parts: Sequence[Part], settings: ExportSettings, name: str, stage: int, claim: Claim) -> Outcome:
    """Plans of parts, shards, then each part's own rows, in a folder that the export has claimed.

    RequestError while a filter has not judged every part, or where pictures are of several types and the
    settings do not say what to do. A picture that is not what was fetched is left out, counted, and named as a failure.
    """
    _require_verdicts(storage, parts, ("stage1",) if stage == 1 else ("stage1", "stage2"))
    plan = Step(
        family=f"export_{name}",
        inputs=INPUTS if settings.captions == "original" else (*INPUTS, "captions"),
        settings=lambda part: {"stage": stage, **settings.model_dump(include=PLAN_SETTINGS)},
        work=partial(plan_part, settings=settings, stage=stage),
    )
    planned = run_step(storage, plan, parts)
    if planned.failed:
        return planned
    types = _types(planned, settings)
    receipts = read_receipts(storage, plan.family, parts)
    inputs = fingerprint_of({str(part): receipt.digest for part, receipt in receipts.items()})
    items = [
        {**item, "inputs": inputs, "seed": settings.seed, "pictures": settings.pictures, "types": types}
        for split in (TRAIN, HELD_OUT)
        for item in _ranges(storage, parts, plan.family, split, planned.counts[split], settings.samples_per_shard)
    ]
    splits, lost, failed = _write_shards(storage, parts, name, items, planned.counts["kept"], claim)
    if failed:
        return Outcome(planned.counts, len(parts), len(items), failed)
    shards = [shard for shards in splits.values() for shard in shards]
    claim.out.write(
        SUMMARY,
        summary_bytes(
            splits, {"settings": {**settings.model_dump(exclude={"out"}), "stage": stage, "name": name}, "plan": inputs}
        ),
    )
    claim.remove_beyond(Counter(item["split"] for item in items))
    outcome = _scatter(storage, parts, name, shards, lost, claim.out)
    storage.write_json(LATEST_EXPORT, {"family": f"shards_{name}", "uri": claim.out.root, "shards": len(shards)})
    outcome.counts.update({"shards": len(shards), "bytes": sum(shard.bytes for shard in shards)})
    outcome.failed |= _causes(lost)
    return outcome


def _types(planned: Outcome, settings: ExportSettings) -> list[str]:
    """The endings that pictures of the export may have; RequestError where stored pictures would need several."""
    counts = {name.removeprefix(TYPES): count for name, count in planned.counts.items() if name.startswith(TYPES)}
    if settings.pictures == "stored" and len(counts) > 1:
        found = ", ".join(f"{count:,} {ending}" for ending, count in sorted(counts.items(), key=lambda item: -item[1]))
        raise RequestError(
            f"the kept pictures are of several types ({found}), and most readers need one; set export.pictures to jpg, png or "
            "webp to encode the others anew, or to mixed"
        )
    return sorted(counts) if settings.pictures == "stored" else []


def _ranges(storage: Storage, parts: Sequence[Part], family: str, split: str, rows: int, per_shard: int) -> list[dict[str, Any]]:
    """The shards of a split, none of them empty, and the range of hashes, `low` … `high`, that each takes."""
    count = -(-rows // per_shard)
    if rows <= MOST_RANKED:
        tables = [_rows_between(storage, part.path(family), 0, 2**64 - 1, split, ["order"]) for part in parts]
        orders = np.sort(pa.concat_tables(tables)["order"].to_numpy()) if rows else np.zeros(0, np.uint64)
        lows = [0, *(int(orders[rows * number // count]) for number in range(1, count))]
    else:
        lows = [number * (1 << 64) // count for number in range(count)]
    highs = [low - 1 for low in [*lows[1:], 1 << 64]]
    return [
        {"label": shard_name(split, number), "split": split, "low": lows[number], "high": highs[number]}
        for number in range(count)
    ]


def _scatter(
    storage: Storage, parts: Sequence[Part], name: str, shards: Sequence[Shard], lost: Mapping[str, Any], out: Storage
) -> Outcome:
    """Writes to each part where its samples lie: the family `shards_<name>`."""
    common = {"shards": fingerprint_of({shard.name: shard.sha256 for shard in shards}), "lost": fingerprint_of(lost)}
    work = partial(_rows_of_part, out=out, shards=[shard.name for shard in shards], lost=lost)
    return run_step(storage, Step(f"shards_{name}", ("samples",), lambda part: common, work), parts)


def _causes(lost: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Tar → why samples whose pictures lie in it were left out."""
    by_tar: dict[str, Counter[str]] = {}
    for row in (row for rows in lost.values() for row in rows):
        by_tar.setdefault(row["tar"], Counter())[row["reason"]] += 1
    reasons = {
        tar: ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) for tar, counts in sorted(by_tar.items())
    }
    return {
        tar: f"{by_tar[tar].total():,} of its pictures are not exported ({text}); "
        "put the tar back as it was fetched, or run `pairmill fetch --redo`"
        for tar, text in reasons.items()
    }


def _require_verdicts(storage: Storage, parts: Sequence[Part], stages: Sequence[str]) -> None:
    """Nothing is exported that was not judged: a missing verdict counts as kept everywhere else."""
    for stage in stages:
        judged = read_receipts(storage, stage, parts)
        unjudged = [part for part in parts if part not in judged]
        if unjudged:
            raise RequestError(
                f"{stage} has not judged {len(unjudged)} of {len(parts)} parts ({unjudged[0]} …); run `pairmill {stage}`"
            )


def _write_shards(
    storage: Storage, parts: Sequence[Part], name: str, items: list[dict[str, Any]], total: int, claim: Claim
) -> tuple[dict[str, list[Shard]], dict[str, list[dict[str, Any]]], dict[str, str]]:
    """(split → its shards, shard → the samples that it lost, shard → why it failed). Shards written before are kept."""
    out = claim.out
    work = partial(_write_shard, storage=storage, parts=parts, family=f"export_{name}", out=out)
    # An edit of what writes shards writes them again.
    content = content_digest(_write_shard, packages=["sharding", "pipelines.exporting"])
    for item in items:
        item["fingerprint"] = fingerprint_of({"content": content} | {key: value for key, value in item.items() if key != "label"})
    receipts = map(_receipt_in, out.read_many([receipt_file(item["label"]) for item in items]))
    there = {*out.glob(tar_file("*")), *out.glob(index_file("*"))}
    done = {
        item["label"]: receipt
        for item, receipt in zip(items, receipts, strict=True)
        if receipt and receipt["fingerprint"] == item["fingerprint"] and not receipt.get("lost")
        if {tar_file(item["label"]), index_file(item["label"])} <= there
    }
    todo = [item for item in items if item["label"] not in done]
    counts = Counter(item["split"] for item in items)
    if todo or counts != Counter(claim.shards):
        # Until the new shards are whole, nobody is told of the old ones.
        forget(storage, name)
        out.remove([SUMMARY])
        claim.extend(counts)
    failed = {}
    left = total * len(todo) // max(1, len(items))
    for label, receipt, error in run_items(todo, work, name="export", unit="samples", total=left):
        if error is None:
            done[label] = receipt
        else:
            failed[label] = error
    splits: dict[str, list[Shard]] = {}
    for item in items:
        if item["label"] in done and done[item["label"]]["shard"]["samples"]:
            splits.setdefault(item["split"], []).append(Shard(**done[item["label"]]["shard"]))
    return splits, {label: receipt["lost"] for label, receipt in sorted(done.items()) if receipt.get("lost")}, failed


def _receipt_in(document: bytes | None) -> dict[str, Any] | None:
    """A shard's receipt; None where there is none, or a broken one: then the shard is written again."""
    try:
        receipt = json.loads(document or b"")
        Shard(**receipt["shard"]), receipt["fingerprint"]
    except (ValueError, TypeError, KeyError):
        return None
    return dict(receipt)


def _write_shard(
    item: dict[str, Any], reporter: Reporter, *, storage: Storage, parts: Sequence[Part], family: str, out: Storage
) -> dict[str, Any]:
    """Writes a shard, its index and its receipt, which it returns."""
    tables = [_rows_between(storage, part.path(family), item["low"], item["high"], item["split"]) for part in parts]
    rows = pa.concat_tables(tables).sort_by([("order", "ascending"), ("sample_id", "ascending")])
    label, lost = item["label"], list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        samples = _samples(storage, rows, item["pictures"], item["types"], lost, reporter)
        shard = asdict(write_shard(Path(folder), label, samples))
        for file in (tar_file(label), index_file(label)):
            if shard["samples"]:
                out.adopt(Path(folder) / file, file)
            else:  # all of its samples are lost; readers refuse an empty shard
                out.remove([file])
    receipt = {"fingerprint": item["fingerprint"], "shard": shard, "lost": lost}
    out.write_json(receipt_file(label), receipt)
    return receipt


def _samples(
    storage: Storage, rows: pa.Table, pictures: str, types: Sequence[str], lost: list[dict[str, Any]], reporter: Reporter
) -> Iterator[Sample]:
    """The samples of a shard. One whose picture is not what was fetched is added to `lost` instead."""
    for number, row in enumerate(rows.to_pylist(), start=1):
        try:
            image = read_picture(storage, row, pictures, types)
        except LostPicture as reason:
            lost.append({"sample_id": row["sample_id"], "tar": row["tar"], "reason": str(reason)})
        else:
            metadata = {name: UNKNOWN.get(name) if row[name] is None else row[name] for name in METADATA}
            yield Sample(row["sample_id"], image, row["caption"], sample_json(row["sample_id"], metadata))
        if number % REPORT_EVERY == 0:
            reporter(REPORT_EVERY)
    reporter(len(rows) % REPORT_EVERY)


def _rows_between(storage: Storage, path: str, low: int, high: int, split: str, columns: Sequence[str] | None = None) -> pa.Table:
    bounds = (pc.field("order") >= pa.scalar(low, pa.uint64())) & (pc.field("order") <= pa.scalar(high, pa.uint64()))
    options = {"columns": columns, "filters": bounds & (pc.field("split") == split), "use_threads": False, "partitioning": None}
    if storage.is_local:  # not by a Python file: pyarrow 26 may abort a process that read one with threads as it ends (SIGABRT)
        return pq.read_table(storage.full(path), memory_map=True, **options)
    with storage.open(path) as handle:
        return pq.read_table(handle, **options)


def _rows_of_part(
    storage: Storage,
    part: Part,
    reporter: Reporter,
    *,
    out: Storage,
    shards: Sequence[str],
    lost: Mapping[str, Sequence[Mapping[str, Any]]],
) -> PartResult:
    """The family `shards_<name>` of a part: which of its samples lie in which shard, at which row, or why in none."""
    ids = storage.read_parquet(part.path("samples"), ["sample_id"])["sample_id"].to_numpy()
    low, high = (pa.scalar(int(edge), pa.uint64()) for edge in (ids.min(initial=2**64 - 1), ids.max(initial=0)))
    tables = []
    for shard in shards:
        own = out.read_parquet(index_file(shard), ["sample_id"])
        own = own.append_column("position", pa.array(np.arange(len(own), dtype=np.int32)))
        tables.append(_named(own, "shard", shard, split_of(shard)))
        left_out = pa.table(
            {
                "sample_id": pa.array([row["sample_id"] for row in lost.get(shard, ())], pa.uint64()),
                "error": pa.array([row["reason"] for row in lost.get(shard, ())], pa.string()),
            }
        )
        tables.append(_named(left_out, "shard", None, split_of(shard)))
    table = pa.concat_tables([schema_of("shards").empty_table(), *tables], promote_options="default")
    table = table.filter(pc.and_(pc.greater_equal(table["sample_id"], low), pc.less_equal(table["sample_id"], high)))
    reporter(part.rows)
    exported = len(table) - table["shard"].null_count
    return PartResult(table.sort_by("sample_id"), {"exported": exported, "lost": len(table) - exported})


def _named(table: pa.Table, column: str, shard: str | None, split: str | None) -> pa.Table:
    for name, text in ((column, shard), ("split", split)):
        table = table.append_column(name, pa.array([text] * len(table), pa.string()))
    return table
