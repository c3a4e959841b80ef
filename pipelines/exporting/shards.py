"""Exports kept samples: plans of parts, shards, then each part's own rows.

A sample's place is a hash of its id, so the shuffle is global, needs no memory, and is the same at every run: each
part writes its kept samples in the order of the hash, each shard takes its range of hashes from every part, and where the samples
went is scattered back to their parts (the family `shards_<name>`).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
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
from pipelines.exporting.plan import HELD_OUT, TRAIN, plan_part
from pipelines.exporting.settings import ExportSettings
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import fingerprint_of, read_receipts
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items
from pipelines.runtime.step import Outcome, PartResult, Step, run_step
from sharding.index import Shard, summary_bytes
from sharding.layout import SUMMARY, index_file, shard_name, split_of, tar_file
from sharding.sample import Sample, sample_json
from sharding.writer import write_shard

PLAN_SETTINGS = {"holdout", "seed", "captions", "synthetic_share"}
INPUTS = ("samples", "fetch", "stage1", "stage2", "dedup")
METADATA = ("url", "source", "language", "width", "height", "synthetic")
REPORT_EVERY = 1000  # samples between two reports of progress


def run_export(storage: Storage, parts: Sequence[Part], settings: ExportSettings, name: str, stage: int, out: Storage) -> Outcome:
    """Plans of parts, shards, then each part's own rows. RequestError while a filter has not judged every part."""
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
    receipts = read_receipts(storage, plan.family, parts)
    inputs = fingerprint_of({str(part): receipt.digest for part, receipt in receipts.items()})
    items = [
        {
            "label": shard_name(split, number),
            "split": split,
            "number": number,
            "of": count,
            "inputs": inputs,
            "seed": settings.seed,
        }
        for split in (TRAIN, HELD_OUT)
        for count in [-(-planned.counts[split] // settings.samples_per_shard)]
        for number in range(count)
    ]
    splits, failed = _write_shards(storage, parts, plan.family, items, planned.counts["kept"], out)
    if failed:
        return Outcome(planned.counts, len(parts), len(items), failed)
    about = {"stage": stage, "seed": settings.seed, "plan": inputs}
    out.write(SUMMARY, summary_bytes(splits, about))
    _remove_stale(out, splits)
    family = f"shards_{name}"
    names = [shard.name for shards in splits.values() for shard in shards]
    common = {"shards": fingerprint_of({shard.name: shard.sha256 for shards in splits.values() for shard in shards})}
    scatter = Step(family, ("samples",), lambda part: common, partial(_rows_of_part, out=out, shards=names))
    outcome = run_step(storage, scatter, parts)
    storage.write_json("exports/latest.json", {"family": family, "uri": out.root, "shards": len(names)})
    outcome.counts.update({"shards": len(names), "bytes": sum(shard.bytes for s in splits.values() for shard in s)})
    return outcome


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
    storage: Storage, parts: Sequence[Part], family: str, items: list[dict[str, Any]], total: int, out: Storage
) -> tuple[dict[str, list[Shard]], dict[str, str]]:
    work = partial(_write_shard, storage=storage, parts=parts, family=family, out=out)
    content = content_digest(_write_shard, packages=["sharding", __name__])  # an edit of what writes shards writes them again
    for item in items:
        inputs = {name: item[name] for name in ("split", "number", "of", "inputs", "seed")}
        item["fingerprint"] = fingerprint_of({"content": content, **inputs})
    receipts = out.read_many([_receipt(item["label"]) for item in items])
    done = {}
    for item, receipt in zip(items, receipts, strict=True):
        if receipt is not None and json.loads(receipt)["fingerprint"] == item["fingerprint"]:
            done[item["label"]] = json.loads(receipt)["shard"]
    todo = [item for item in items if item["label"] not in done]
    left = total * len(todo) // max(1, len(items))
    failed = {}
    for label, shard, error in run_items(todo, work, name="export", unit="samples", total=left):
        if error is None:
            done[label] = shard
        else:
            failed[label] = error
    splits: dict[str, list[Shard]] = {}
    for item in items:
        if item["label"] in done:
            splits.setdefault(item["split"], []).append(Shard(**done[item["label"]]))
    return splits, failed


def _remove_stale(out: Storage, splits: dict[str, list[Shard]]) -> None:
    """Removes shards of an earlier, larger export: whoever reads `*.tar` must see this export alone."""
    names = {shard.name for shards in splits.values() for shard in shards}
    for file_of in (tar_file, index_file, _receipt):
        before, after = file_of("*").split("*")
        for path in out.glob(file_of("*")):
            shard = path.removeprefix(before).removesuffix(after)
            if split_of(shard) in (TRAIN, HELD_OUT) and shard not in names:
                out.remove([path])


def _receipt(shard: str) -> str:
    return f"receipts/{shard}.json"


def _write_shard(
    item: dict[str, Any], reporter: Reporter, *, storage: Storage, parts: Sequence[Part], family: str, out: Storage
) -> dict[str, Any]:
    low, high = (edge * (1 << 64) // item["of"] for edge in (item["number"], item["number"] + 1))
    tables = [_rows_between(storage, part.path(family), low, high - 1, item["split"]) for part in parts]
    rows = pa.concat_tables(tables).sort_by([("order", "ascending"), ("sample_id", "ascending")])
    label = item["label"]
    with tempfile.TemporaryDirectory() as folder:
        shard = asdict(write_shard(Path(folder), label, _samples(storage, rows, reporter)))
        for file in (tar_file(label), index_file(label)):
            out.adopt(Path(folder) / file, file)
    out.write_json(_receipt(label), {"fingerprint": item["fingerprint"], "shard": shard})
    return shard


def _samples(storage: Storage, rows: pa.Table, reporter: Reporter) -> Iterator[Sample]:
    for number, row in enumerate(rows.to_pylist(), start=1):
        image = storage.read_range(row["tar"], row["offset"], row["length"])
        metadata = sample_json(row["sample_id"], {name: row[name] for name in METADATA})
        yield Sample(row["sample_id"], image, row["caption"], metadata)
        if number % REPORT_EVERY == 0:
            reporter(REPORT_EVERY)
    reporter(len(rows) % REPORT_EVERY)


def _rows_between(storage: Storage, path: str, low: int, high: int, split: str) -> pa.Table:
    bounds = (pc.field("order") >= pa.scalar(low, pa.uint64())) & (pc.field("order") <= pa.scalar(high, pa.uint64()))
    with storage.open(path) as handle:
        return pq.read_table(handle, filters=bounds & (pc.field("split") == split))


def _rows_of_part(storage: Storage, part: Part, reporter: Reporter, *, out: Storage, shards: Sequence[str]) -> PartResult:
    """The family `shards_<name>` of a part: which of its samples lie in which shard, at which row."""
    ids = storage.read_parquet(part.path("samples"), ["sample_id"])["sample_id"].to_numpy()
    low, high = (pa.scalar(int(edge), pa.uint64()) for edge in (ids.min(initial=2**64 - 1), ids.max(initial=0)))
    tables = []
    for shard in shards:
        own = out.read_parquet(index_file(shard), ["sample_id"])
        own = own.append_column("position", pa.array(np.arange(len(own), dtype=np.int32)))
        own = own.filter(pc.and_(pc.greater_equal(own["sample_id"], low), pc.less_equal(own["sample_id"], high)))
        name, split = (pa.array([text] * len(own), pa.string()) for text in (shard, split_of(shard)))
        tables.append(own.append_column("shard", name).append_column("split", split))
    empty = pa.schema([("sample_id", pa.uint64()), ("position", pa.int32()), ("shard", pa.string()), ("split", pa.string())])
    table = pa.concat_tables([empty.empty_table(), *tables]).sort_by("sample_id")
    reporter(part.rows)
    return PartResult(table, {"exported": len(table)})
