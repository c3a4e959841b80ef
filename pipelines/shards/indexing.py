"""Indexes and a summary for tars that others wrote: headers are read, nothing is rewritten."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from infra.compat.content import content_digest
from infra.compat.errors import RequestError
from pipelines.manifest.receipts import fingerprint_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.shards.receipts import Done, Items, done_before, receipt_of, run_pending
from pipelines.shards.tars import Tars
from pipelines.sources.files import stamp_of
from sharding.foreign import samples_of
from sharding.index import Dataset, Shard, index_bytes, read_dataset, summary_bytes
from sharding.layout import SUMMARY, index_file, receipt_file, tar_file
from sharding.tar_headers import LOCAL_WINDOW, REMOTE_WINDOW, Window, read_members

RESHARDED = "receipts/reshard.json"  # the request that a folder of `pairmill reshard` is the result of
READERS = 16
MOST_IDS = 1 << 27  # compared at a time: a gigabyte


def run_index(tars: Tars, out: Storage, split: str, *, checksums: bool, address: str | None) -> dict[str, Any]:
    """Indexes the tars as a split of the dataset in `out`; a tar whose size and date have not changed is not read again.

    RequestError where `out` holds a dataset that no index made.
    """
    _earlier(out, tars)
    source = Storage(tars.folder)
    items = _items(source, tars.shards, checksums)
    missing = {shard: "its tar is missing" for shard in set(tars.shards) - {item["label"] for item in items}}
    work = partial(_index_tars, source=source, out=out)
    done = run_pending(items, done_before(out, items, tars=False), work, name="index", address=address)
    receipts = {item["label"]: done.receipts[item["label"]] for item in items if item["label"] in done.receipts}
    earlier = _earlier(out, tars)  # now, as another split may have been added meanwhile
    records = {shard.name: shard for own in earlier.values() for shard in own if shard.name in missing}
    records |= {name: Shard(**receipt["shard"]) for name, receipt in receipts.items()}
    shards = [records[name] for name in tars.shards if name in records and records[name].samples]
    splits = _with_split(earlier, split, shards, set(records))
    every = [shard for of_split in splits.values() for shard in of_split]
    about = {"index": {"checksums": all(shard.sha256 for shard in every)}}
    out.write(SUMMARY, summary_bytes(splits, about, "" if tars.folder == out.root else tars.folder))
    there = [shard for shard in every if shard.name not in missing]
    failed = done.failed | missing | _faults(receipts) | _repeated_ids(out, there)
    return _counts(done, receipts, shards) | {"failed": failed}


def _with_split(
    splits: Mapping[str, Sequence[Shard]], split: str, shards: list[Shard], names: Collection[str]
) -> dict[str, list[Shard]]:
    """The splits with one replaced; a tar is in one split only, the one that it was named for last."""
    others = {name: [shard for shard in own if shard.name not in names] for name, own in splits.items() if name != split}
    return {name: own for name, own in {**others, split: shards}.items() if own}


def index_tar(source: Storage, shard: str, size: int, *, checksums: bool) -> tuple[bytes, dict[str, Any], Shard]:
    """The index of a tar as Parquet, its faults and counts, and the record of the shard."""
    block = LOCAL_WINDOW if source.is_local and not checksums else REMOTE_WINDOW
    with source.fs.open(source.full(tar_file(shard)), "rb", cache_type="none") as handle:
        window = Window(handle, size, block, hashed=checksums)
        contents = read_members(window)
        sha256 = window.sha256()
    samples = samples_of(shard, contents.members)
    faults = [*contents.faults, *samples.faults] + ([] if samples.rows else ["holds no samples"])
    without_text = sum("text_offset" not in row for row in samples.rows)
    account = {"faults": faults, "scattered": samples.scattered, "ignored": samples.ignored, "without_text": without_text}
    return index_bytes(samples.rows), account, Shard(shard, len(samples.rows), size, sha256)


def _index_tars(items: Items, reporter: Reporter, *, source: Storage, out: Storage) -> list[dict[str, Any]]:
    """Writes the index and the receipt of each tar."""
    receipts = []
    for item in items:
        shard = item["label"]
        index, account, record = index_tar(source, shard, item["size"], checksums=item["checksums"])
        out.write(index_file(shard), index)
        receipts.append(receipt_of(item["fingerprint"], record, **account))
        out.write_json(receipt_file(shard), receipts[-1])
        reporter(1)
    return receipts


def _items(source: Storage, shards: Sequence[str], checksums: bool) -> list[dict[str, Any]]:
    """The tars that are there with their sizes, and fingerprints of what an index depends on."""
    content = content_digest(index_tar, packages=["sharding", __name__])

    def info_of(shard: str) -> dict[str, Any] | None:
        with suppress(FileNotFoundError):
            return dict(source.fs.info(source.full(tar_file(shard))))
        return None

    with ThreadPoolExecutor(READERS) as pool:
        infos = list(pool.map(info_of, shards))
    return [
        {
            "label": shard,
            "size": int(info["size"]),
            "checksums": checksums,
            "fingerprint": fingerprint_of(
                {"tars": source.root, "size": info["size"], "stamp": stamp_of(info), "checksums": checksums, "content": content}
            ),
        }
        for shard, info in zip(shards, infos, strict=True)
        if info
    ]


def _earlier(out: Storage, tars: Tars) -> dict[str, list[Shard]]:
    """The splits that were indexed before in `out`; RequestError where they are not of an index of these tars."""
    if not out.exists(SUMMARY):
        for folder in {out.root, tars.folder}:
            _require_ended(folder)
        return {}
    dataset = read_dataset(out.root)
    if "index" not in dataset.about:
        raise RequestError(f"{out.root} is a dataset that has an index; check it with `pairmill verify`, or give --out")
    if dataset.tars != tars.folder:
        raise RequestError(f"{out.root} holds an index of {dataset.tars}, not of {tars.folder}; give another --out")
    return dataset.splits


def _faults(receipts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {shard: "; ".join(receipt["faults"]) for shard, receipt in receipts.items() if receipt["faults"]}


def _counts(done: Done, receipts: Mapping[str, Mapping[str, Any]], shards: Sequence[Shard]) -> dict[str, Any]:
    return {
        "shards": len(shards),
        "samples": sum(shard.samples for shard in shards),
        "bytes": sum(shard.bytes for shard in shards),
        "without_checksum": sum(not shard.sha256 for shard in shards),
        "without_text": sum(receipt["without_text"] for receipt in receipts.values()),
        "scattered_samples": sum(receipt["scattered"] for receipt in receipts.values()),
        "ignored_files": sum(receipt["ignored"] for receipt in receipts.values()),
        "ran": done.ran,
    }


def _repeated_ids(out: Storage, shards: Sequence[Shard]) -> dict[str, str]:
    """Two samples of different tars with one id, as a fault; ids are compared range by range, a bounded number at a time."""
    passes = max(1, -(-sum(shard.samples for shard in shards) // MOST_IDS))
    for number in range(passes):
        with ThreadPoolExecutor(READERS) as pool:
            ids = [part[part % passes == number] for part in pool.map(partial(_ids, out), shards)]
        places = np.repeat(np.arange(len(ids)), [len(part) for part in ids])
        every = np.concatenate(ids) if ids else np.zeros(0, np.uint64)
        order = np.argsort(every, kind="stable")
        twins = np.flatnonzero(every[order][1:] == every[order][:-1])
        if len(twins):
            first, second = (shards[places[order[twins[0] + step]]].name for step in (0, 1))
            fault = f"{len(twins):,} are of two samples, such as {every[order[twins[0]]]} in {first} and {second}"
            return {"sample ids": f"{fault}; are these the same samples? Leave one tar out, or rename it"}
    return {}


def _ids(out: Storage, shard: Shard) -> np.ndarray:
    ids: np.ndarray = out.read_parquet(index_file(shard.name), ["sample_id"])["sample_id"].to_numpy()
    return ids


def indexed_dataset(uri: str) -> Dataset:
    """The dataset at a URI; RequestError where there is none."""
    try:
        return read_dataset(uri)
    except FileNotFoundError:
        _require_ended(uri)
        raise RequestError(f"{uri} holds no {SUMMARY}; run `pairmill index {uri}` first, or check the URI") from None


def _require_ended(uri: str) -> None:
    """RequestError where a reshard into the folder, which has no summary, was stopped: a part would be taken for the whole."""
    if Storage(uri).exists(RESHARDED):
        raise RequestError(f"{uri} is of a `pairmill reshard` that has not ended; run that again, or delete the folder")
