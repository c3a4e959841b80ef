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

from infra.compat.content import content_digest
from infra.compat.errors import RequestError
from pipelines.manifest.receipts import fingerprint_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items, start_ray
from pipelines.shards.descriptions import Describer, is_between, read_described
from pipelines.shards.indexing import RESHARDED
from pipelines.shards.plan import Cut, batches_by_root, planned_shards
from pipelines.shards.receipts import Done, Items, done_before, receipt_of, run_pending
from sharding.index import SHUFFLED, Dataset, Shard, index_bytes, summary_bytes
from sharding.layout import SUMMARY, index_file, receipt_file, shard_of, tar_file
from sharding.ranges import Range, ShortRead, range_reader
from sharding.tar_headers import BLOCK, begins_member
from sharding.writer import ShardWriter

MOST_BYTES = 64 << 20  # of samples in memory
OPEN_TARS = 64
WASTE = 0.5  # share of a request's bytes that may be thrown away
NAMED = 3  # tars, in a fault


def run_reshard(dataset: Dataset, out: Storage, cut: Cut, address: str | None) -> dict[str, Any]:
    """Writes the samples of all splits as shards in `out`; killed and run again, the bytes are the same.

    RequestError where `out` holds anything else. While a shard cannot be written there is no summary.
    """
    inputs = {split: [asdict(shard) for shard in shards] for split, shards in dataset.splits.items()}
    request = {"of": dataset.uri, **asdict(cut), "inputs": fingerprint_of(inputs)}
    claim_folder(out, request)
    content = content_digest(_write_shards, Describer.__call__, packages=["sharding", "pipelines.shards"])
    name = fingerprint_of({**request, "content": content})
    done = {split: _run_split(dataset, split, out, cut, name, address) for split in dataset.splits}
    failed = {label: cause for one in done.values() for label, cause in one.failed.items()}
    splits = {split: [Shard(**receipt["shard"]) for receipt in one.receipts.values()] for split, one in done.items()}
    splits = {split: kept for split, shards in splits.items() if (kept := [shard for shard in shards if shard.samples])}
    if not failed:
        out.write(SUMMARY, summary_bytes(splits, {"reshard": request, SHUFFLED: cut.seed is not None or dataset.is_shuffled}))
        out.remove_folder("partial")
    shards = [shard for of_split in splits.values() for shard in of_split]
    return {
        "shards": len(shards),
        "samples": sum(shard.samples for shard in shards),
        "bytes": sum(shard.bytes for shard in shards),
        "ran": sum(one.ran for one in done.values()),
        "failed": failed | {label: cause for one in done.values() for label, cause in _losses(one).items()},
    }


def claim_folder(out: Storage, request: Mapping[str, Any]) -> None:
    """Notes whose folder it is; RequestError where it holds shards, or those of another request."""
    if out.exists(RESHARDED):
        if out.read_json(RESHARDED) != request:
            raise RequestError(f"--out {out.root} holds the shards of another request; give another folder, or delete that one")
        return
    others = [file for file in out.glob("*") if file == SUMMARY or shard_of(file)]
    if others:
        raise RequestError(f"--out {out.root} holds {others[0]}, which reshard did not write; give another folder")
    out.write_json(RESHARDED, request)


def _run_split(dataset: Dataset, split: str, out: Storage, cut: Cut, name: str, address: str | None) -> Done:
    """Both passes over a split; only shards that are not done are written. Receipts are in the order of the shards."""
    plan = planned_shards(dataset, split, cut)
    items = [{**item, "fingerprint": fingerprint_of({**item, "request": name})} for item in plan]
    before = done_before(out, items, tars=True)
    if len(before) == len(items):
        return Done(before)
    batches = batches_by_root(items)
    describer = Describer(dataset, out, cut.seed, [batch[0]["low"] for batch in batches])
    tasks = describer.tasks(split, f"partial/{name}")
    pending = [task for task in tasks if not out.exists(task["file"])]
    start_ray(address)
    total = sum(len(task["shards"]) for task in pending)
    failed = {label: error for label, _, error in run_items(pending, describer, name="sort", unit="shards", total=total) if error}
    if failed:
        return Done(before, failed)
    work = partial(_write_shards, source=Storage(dataset.tars), out=out, files=[task["file"] for task in tasks])
    done = run_pending(items, before, work, name="reshard", address=address, batches=partial(_within, batches))
    done.receipts = {item["label"]: done.receipts[item["label"]] for item in items if item["label"] in done.receipts}
    return done


def _within(batches: Sequence[Items], pending: Items) -> list[Items]:
    """The pending items, in the batches that they are of."""
    labels = {item["label"] for item in pending}
    kept = [[item for item in batch if item["label"] in labels] for batch in batches]
    return [batch for batch in kept if batch]


def _write_shards(
    items: Items, reporter: Reporter, *, source: Storage, out: Storage, files: Sequence[str]
) -> list[dict[str, Any]]:
    """Writes neighbouring shards with indexes and receipts."""
    rows = read_described(out, files, items[0]["low"], items[-1]["high"])
    receipts = []
    for item in items:
        own = rows.filter(is_between(item["low"], item["high"])).to_pylist()
        receipts.append(_write_shard(item, own, source, out))
        reporter(1)
    return receipts


def _write_shard(item: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], source: Storage, out: Storage) -> dict[str, Any]:
    """Writes a shard of these samples; those whose bytes are not there any more are left out and named in its receipt."""
    label, lost = item["label"], list[dict[str, Any]]()
    if len({(row["sample_id"], row["repeat"]) for row in rows}) < len(rows):
        raise RequestError(f"{label}: two samples have one id, as `pairmill index` says; leave one of their tars out")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, tar_file(label))
        with path.open("wb") as stream:
            writer = ShardWriter(stream, label)
            for row, members in _samples(source, rows, lost):
                writer.add(row["sample_id"], members, row["repeat"])
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
) -> Iterator[tuple[Mapping[str, Any], dict[str, bytes]]]:
    """The row and the members of each sample, in the order in which they lie in its tar; many are read at a time."""
    reader = range_reader(source.fs, OPEN_TARS, WASTE)
    for chunk in _chunks(rows):
        places = [_members(row) for row in chunk]
        ranges = [
            Range(source.full(tar_file(row["tar"])), offset - BLOCK, offset + length)
            for row, members in zip(chunk, places, strict=True)
            for _, offset, length in members
        ]
        data = map(_member_or_none, reader.read(ranges))
        for row, members in zip(chunk, places, strict=True):
            sample = {member: next(data) for member, _, _ in members}
            whole = {member: own for member, own in sample.items() if own is not None}
            if len(whole) == len(sample):
                yield row, whole
            else:
                lost.append({"sample_id": row["sample_id"], "tar": row["tar"]})


def _member_or_none(data: bytes | Exception) -> bytes | None:
    """A member, read with its header; None where the tar ends before, or has another one there: it is not what was indexed.

    Raises what else kept it from being read.
    """
    if isinstance(data, ShortRead):
        return None
    if isinstance(data, Exception):
        raise data
    return data[BLOCK:] if begins_member(data[:BLOCK], len(data) - BLOCK) else None


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


def _losses(done: Done) -> dict[str, str]:
    """Shard → the samples that it lost, in words."""
    losses = {}
    for label, receipt in done.receipts.items():
        if receipt["lost"]:
            tars = ", ".join(sorted({row["tar"] for row in receipt["lost"]})[:NAMED])
            losses[label] = (
                f"{len(receipt['lost']):,} samples are lost: {tars} ended before them, or are others than were indexed; copy "
                "these, index them again, and write to a new folder"
            )
    return losses
