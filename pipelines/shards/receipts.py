"""Work on shards that is done once: a receipt beside the shards says what was done, and from what."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items, start_ray
from sharding.index import Shard
from sharding.layout import index_file, receipt_file, tar_file

READERS = 16

Items = list[dict[str, Any]]
Work = Callable[[Items, Reporter], list[dict[str, Any]]]


@dataclass
class Done:
    """Shard → its receipt, those of earlier runs too; shard → why it failed; how many shards this run did."""

    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    ran: int = 0


def receipt_of(fingerprint: str, shard: Shard, **more: Any) -> dict[str, Any]:
    """A receipt as `run_pending` reads it."""
    return {"fingerprint": fingerprint, "shard": vars(shard), **more}


def read_shard_receipts(out: Storage, shards: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Shard → its receipt, of those that have one; a broken one is none, so that its shard is done again."""
    documents = out.read_many([receipt_file(shard) for shard in shards])
    receipts = {}
    for shard, document in zip(shards, documents, strict=True):
        try:
            receipt = json.loads(document or b"")
            Shard(**receipt["shard"]), receipt["fingerprint"]
        except (ValueError, TypeError, KeyError):
            continue
        receipts[shard] = receipt
    return receipts


def done_before(out: Storage, items: Sequence[dict[str, Any]], *, tars: bool) -> dict[str, dict[str, Any]]:
    """Shard → receipt, of the items that have one with their `fingerprint` and have lost no sample.

    One whose index, or with `tars` whose tar, is gone is not done; a shard of no samples has neither.
    """
    receipts = read_shard_receipts(out, [item["label"] for item in items])
    file_names: Sequence[Callable[[str], str]] = (tar_file, index_file) if tars else (index_file,)

    def is_done(item: dict[str, Any]) -> bool:
        receipt = receipts.get(item["label"])
        if receipt is None or receipt["fingerprint"] != item["fingerprint"] or receipt.get("lost"):
            return False
        return not receipt["shard"]["samples"] or all(out.exists(file(item["label"])) for file in file_names)

    with ThreadPoolExecutor(READERS) as pool:
        done = list(pool.map(is_done, items))
    return {item["label"]: receipts[item["label"]] for item, one in zip(items, done, strict=True) if one}


def run_pending(
    items: Sequence[dict[str, Any]],
    done: Mapping[str, dict[str, Any]],
    work: Work,
    *,
    name: str,
    address: str | None,
    batches: Callable[[Items], list[Items]] | None = None,
) -> Done:
    """Does `work` on the items that are not `done`, one by one or in `batches`; it writes a receipt for each and returns them."""
    pending = [item for item in items if item["label"] not in done]
    result = Done(dict(done), ran=len(pending))
    tasks = [
        {"label": _label(batch), "items": batch} for batch in (batches(pending) if batches else [[item] for item in pending])
    ]
    if tasks:
        start_ray(address)

    def task(item: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
        return {"receipts": work(item["items"], reporter)}

    for label, answer, error in run_items(tasks, task, name=name, unit="shards", total=len(pending)):
        if error is None:
            result.receipts |= {receipt["shard"]["name"]: receipt for receipt in answer["receipts"]}
        else:
            result.failed[label] = error
    return result


def _label(batch: Items) -> str:
    first, last = batch[0]["label"], batch[-1]["label"]
    return first if len(batch) == 1 else f"{first} … {last}"
