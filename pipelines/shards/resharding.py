"""Samples of indexed shards → shards of another size or order, in two passes.

To find the samples of a new shard, every old index would have to be read: old × new files. So the first pass writes, for each run
of about √old shards, where their samples lie, sorted by place, a row group for each run of about √new shards. The second reads a
row group of each of these files, and then the samples: √old × √new row groups, no more than shards, and pictures move once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from infra.compat.content import content_digest
from infra.compat.errors import RequestError
from pipelines.manifest.receipts import fingerprint_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items, start_ray
from pipelines.shards.plan import Cut, batches_by_root, places_of, planned_shards
from pipelines.shards.receipts import Done, Items, done_before, receipt_of, run_pending
from pipelines.shards.spans import Span, read_spans
from sharding.index import Dataset, Shard, index_bytes, read_index, summary_bytes
from sharding.layout import SUMMARY, index_file, receipt_file, shard_of, tar_file
from sharding.writer import ShardWriter

NOTE = "receipts/reshard.json"  # the request that the folder is the result of
MOST_BYTES = 64 << 20  # of samples in memory


def run_reshard(dataset: Dataset, out: Storage, cut: Cut, address: str | None) -> dict[str, Any]:
    """Writes the samples of all splits as shards in `out`; killed and run again, the bytes are the same.

    RequestError where `out` holds anything else, or a tar is no longer as it was indexed.
    """
    inputs = {split: [asdict(shard) for shard in shards] for split, shards in dataset.splits.items()}
    request = {"of": dataset.uri, **asdict(cut), "inputs": fingerprint_of(inputs)}
    claim_folder(out, request)
    content = content_digest(_write_shards, places_of, packages=["sharding", "pipelines.shards"])
    splits: dict[str, list[Shard]] = {}
    failed: dict[str, str] = {}
    ran = 0
    for split in dataset.splits:
        plan = planned_shards(dataset, split, cut)
        items = [{**item, "fingerprint": fingerprint_of({**item, **request, "content": content})} for item in plan]
        done = _run_split(dataset, split, out, cut, items, fingerprint_of({**request, "content": content}), address)
        receipts = [done.receipts[item["label"]] for item in items if item["label"] in done.receipts]
        splits[split] = [Shard(**receipt["shard"]) for receipt in receipts if receipt["shard"]["samples"]]
        failed |= done.failed | {receipt["shard"]["name"]: _loss(receipt["lost"]) for receipt in receipts if receipt["lost"]}
        ran += done.ran
    shards = [shard for of_split in splits.values() for shard in of_split]
    if shards:
        out.write(SUMMARY, summary_bytes({split: own for split, own in splits.items() if own}, {"reshard": request}))
    if not failed:
        out.remove_folder("partial")
    counts = {"shards": len(shards), "samples": sum(shard.samples for shard in shards)}
    return {**counts, "bytes": sum(shard.bytes for shard in shards), "ran": ran, "failed": failed}


def claim_folder(out: Storage, request: Mapping[str, Any]) -> None:
    """Notes whose folder it is; RequestError where it holds shards, or those of another request."""
    if out.exists(NOTE):
        if out.read_json(NOTE) != request:
            raise RequestError(f"--out {out.root} holds the shards of another request; give another folder, or delete that one")
        return
    others = [file for file in out.glob("*") if file == SUMMARY or shard_of(file)]
    if others:
        raise RequestError(f"--out {out.root} holds {others[0]}, which reshard did not write; give another folder")
    out.write_json(NOTE, request)


def _run_split(
    dataset: Dataset, split: str, out: Storage, cut: Cut, items: list[dict[str, Any]], name: str, address: str | None
) -> Done:
    """Both passes over a split, of which only shards that are not done are written."""
    before = done_before(out, items, tars=True)
    if len(before) == len(items):
        return Done(before)
    batches = batches_by_root(items)
    shards, firsts = dataset.shards(split), np.cumsum([0, *(shard.samples for shard in dataset.shards(split))]).tolist()
    runs = batches_by_root([{**asdict(shard), "first": first} for shard, first in zip(shards, firsts, strict=False)])
    tasks = [
        {"label": f"{run[0]['name']} …", "shards": run, "file": f"partial/{name}/{split}-{n}.parquet"}
        for n, run in enumerate(runs)
    ]
    files = [str(task["file"]) for task in tasks]
    pending = [task for task, file in zip(tasks, files, strict=True) if not out.exists(file)]
    start_ray(address)
    describe = partial(_describe, dataset=dataset, out=out, seed=cut.seed, lows=[batch[0]["low"] for batch in batches])
    total = sum(len(task["shards"]) for task in pending)
    failed = {label: error for label, _, error in run_items(pending, describe, name="sort", unit="shards", total=total) if error}
    if failed:
        return Done(before, failed)
    work = partial(_write_shards, source=Storage(dataset.tars), out=out, files=files)
    return run_pending(items, before, work, name="reshard", address=address, batches=partial(_within, batches))


def _within(batches: Sequence[Items], pending: Items) -> list[Items]:
    """The pending items, in the batches that they are of."""
    labels = {item["label"] for item in pending}
    kept = [[item for item in batch if item["label"] in labels] for batch in batches]
    return [batch for batch in kept if batch]


def _describe(
    task: dict[str, Any], reporter: Reporter, *, dataset: Dataset, out: Storage, seed: int | None, lows: Sequence[int]
) -> dict[str, Any]:
    """Writes where the samples of some shards lie, sorted by place, a row group for each range of places."""
    source, tables = Storage(dataset.tars), []
    for shard in task["shards"]:
        path = source.full(tar_file(shard["name"]))
        size = source.fs.info(path)["size"]
        if size != shard["bytes"]:
            raise RequestError(f"{path} has {size:,} bytes, and had {shard['bytes']:,} when it was indexed; index it again")
        index = read_index(dataset.uri, shard["name"])
        columns: dict[str, Any] = {"place": places_of(index, shard["first"], seed), "sample_id": index.sample_ids}
        columns["tar"] = pa.array([shard["name"]] * len(index), pa.string())
        for member, offsets in index.offsets.items():
            columns |= {f"{member}_offset": offsets, f"{member}_length": index.lengths[member]}
        tables.append(pa.table(columns))
        reporter(1)
    table = pa.concat_tables(tables, promote_options="default").sort_by("place")
    starts = np.searchsorted(table["place"].to_numpy(), np.array([*lows[1:]], np.uint64)).tolist()
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        for start, end in zip([0, *starts], [*starts, len(table)], strict=True):
            if end > start:
                writer.write_table(table.slice(start, end - start), row_group_size=end - start)
    out.write(task["file"], sink.getvalue())
    return {}


def _write_shards(
    items: Items, reporter: Reporter, *, source: Storage, out: Storage, files: Sequence[str]
) -> list[dict[str, Any]]:
    """Writes neighbouring shards with indexes and receipts."""
    rows = pa.concat_tables(
        [_between(out, file, items[0]["low"], items[-1]["high"]) for file in files], promote_options="default"
    ).sort_by("place")
    receipts = []
    for item in items:
        own = rows.filter(_is_between(item["low"], item["high"])).to_pylist()
        receipts.append(_write_shard(item, own, source, out))
        reporter(1)
    return receipts


def _write_shard(item: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], source: Storage, out: Storage) -> dict[str, Any]:
    """Writes a shard of these samples; those whose bytes are not there any more are left out and named in its receipt."""
    label, lost = item["label"], list[dict[str, Any]]()
    if len({row["sample_id"] for row in rows}) < len(rows):
        raise RequestError(f"{label}: two samples have one id, as `pairmill index` says; leave one of their tars out")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, tar_file(label))
        with path.open("wb") as stream:
            writer = ShardWriter(stream, label)
            for sample_id, members in _samples(source, rows, lost):
                writer.add(sample_id, members)
            shard = writer.close()
        if shard.samples:
            out.write(index_file(label), index_bytes(writer.rows))
            out.adopt(path, tar_file(label))
        else:
            out.remove([index_file(label), tar_file(label)])
    receipt = receipt_of(item["fingerprint"], shard, lost=lost)
    out.write_json(receipt_file(label), receipt)
    return receipt


def _samples(
    source: Storage, rows: Sequence[Mapping[str, Any]], lost: list[dict[str, Any]]
) -> Iterator[tuple[int, dict[str, bytes]]]:
    """The id and the members of each sample, in the order in which they lie in its tar; many are read at a time."""
    for chunk in _chunks(rows):
        places = [_members(row) for row in chunk]
        spans = [
            Span(source.full(tar_file(row["tar"])), offset, length)
            for row, members in zip(chunk, places, strict=True)
            for _, offset, length in members
        ]
        data = iter(read_spans(source.fs, spans))
        for row, members in zip(chunk, places, strict=True):
            sample = {member: next(data) for member, _, _ in members}
            if all(len(sample[member]) == length for member, _, length in members):
                yield row["sample_id"], sample
            else:
                lost.append({"sample_id": row["sample_id"], "tar": row["tar"]})


def _members(row: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """(member, offset, length) of those that a sample has, in the order of its tar."""
    names = [name.removesuffix("_offset") for name in row if name.endswith("_offset")]
    members = [(name, row[f"{name}_offset"], row[f"{name}_length"]) for name in names]
    return sorted((one for one in members if one[2] is not None and one[2] >= 0), key=itemgetter(1))


def _chunks(rows: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Rows in order, as many at a time as have MOST_BYTES."""
    chunk, size = list[Mapping[str, Any]](), 0
    for row in rows:
        length = sum(length for _, _, length in _members(row))
        if chunk and size + length > MOST_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += length
    if chunk:
        yield chunk


def _is_between(low: int, high: int) -> pc.Expression:
    return (pc.field("place") >= pa.scalar(low, pa.uint64())) & (pc.field("place") <= pa.scalar(high, pa.uint64()))


def _between(out: Storage, file: str, low: int, high: int) -> pa.Table:
    """The rows of a file with these places; only their row groups are read."""
    filters, options = _is_between(low, high), {"use_threads": False, "partitioning": None}
    if out.is_local:
        return pq.read_table(out.full(file), filters=filters, **options)
    with out.open(file) as handle:
        return pq.read_table(handle, filters=filters, **options)


def _loss(lost: Sequence[Mapping[str, Any]]) -> str:
    tars = sorted({row["tar"] for row in lost})
    return f"{len(lost):,} samples are lost, as {', '.join(tars[:3])} end before them; copy the tars again and index them"
