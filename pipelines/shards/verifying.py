"""Shards beside their summary and indexes, side by side; faulty ones written again by the job that wrote them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from infra.compat.errors import RequestError
from pipelines.cli import load_job
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items, start_ray
from pipelines.shards.indexing import indexed_dataset, run_index
from pipelines.shards.pairing import Pairs, pairing_faults
from pipelines.shards.plan import Cut
from pipelines.shards.resharding import run_reshard
from pipelines.shards.tars import Tars
from sharding.checks import Fault, shard_faults, undecodable
from sharding.index import Dataset, Shard
from sharding.layout import receipt_file

EXPORT_NOTE = "receipts/export.json"
MOST = 100  # faults that are named of one shard


def find_faults(
    dataset: Dataset, shards: Sequence[Shard], *, decode: bool, pairs: Pairs | None, address: str | None
) -> tuple[list[Fault], int]:
    """The faults of these shards, and with `pairs` how many pictures were encoded anew and so not compared."""
    items = [{"label": shard.name, "shard": asdict(shard)} for shard in shards]
    check = partial(_check, dataset=dataset, decode=decode, pairs=pairs)
    start_ray(address)
    faults: list[Fault] = []
    for label, result, error in run_items(items, check, name="verify", unit="shards", total=len(items)):
        faults += [Fault(label, "", error)] if error else [Fault(*fault) for fault in result["faults"]]
    encoded_anew = 0
    if pairs:
        unpaired, encoded_anew = pairing_faults(pairs)
        faults += unpaired
    return sorted(faults), encoded_anew


def named(faults: Sequence[Fault]) -> list[Fault]:
    """The faults, of each shard no more than can be read."""
    by_shard: dict[str, list[Fault]] = {}
    for fault in faults:
        by_shard.setdefault(fault.shard, []).append(fault)
    shown = []
    for shard, own in by_shard.items():
        shown += own[:MOST] + ([Fault(shard, "", f"and {len(own) - MOST:,} more faults")] if len(own) > MOST else [])
    return shown


def _check(item: dict[str, Any], reporter: Reporter, *, dataset: Dataset, decode: bool, pairs: Pairs | None) -> dict[str, Any]:
    shard = Shard(**item["shard"])
    rows = pairs.rows(shard.name) if pairs else None
    checks = [*([undecodable] if decode else []), *([rows.add] if rows else [])]
    problems = shard_faults(dataset, shard, checks)
    if rows:
        rows.write()
    reporter(1)
    return {"faults": named(problems)}


def repair(dataset: Dataset, shards: Collection[str], root: str | None, arguments: Sequence[str], address: str | None) -> None:
    """Lets the job that wrote these shards write them again, and no others: what it has a receipt of is done.

    RequestError where that is an export and its manifest is not named.
    """
    out = Storage(dataset.uri)
    if "index" in dataset.about:
        out.remove(receipt_file(shard) for shard in shards)
        for split, own in dataset.splits.items():
            tars, checksums = Tars(dataset.tars, tuple(shard.name for shard in own)), all(shard.sha256 for shard in own)
            run_index(tars, out, split, checksums=checksums, address=address)
    elif "reshard" in dataset.about:
        request = dataset.about["reshard"]
        cut = Cut(request["samples_per_shard"], request["bytes_per_shard"], request["seed"])
        out.remove(receipt_file(shard) for shard in shards)
        run_reshard(indexed_dataset(request["of"]), out, cut, address)
    else:
        _export_again(dataset, out, shards, root, arguments)


def _export_again(dataset: Dataset, out: Storage, shards: Collection[str], root: str | None, arguments: Sequence[str]) -> None:
    if not out.exists(EXPORT_NOTE):
        raise RequestError(f"{out.root} was written by no job of ours that could write it again; copy or index it again")
    note = out.read_json(EXPORT_NOTE)
    if root is None:
        raise RequestError(f"{out.root} is an export of {note['root']}; --repair needs that as --root, and the --recipe of then")
    out.remove(receipt_file(shard) for shard in shards)
    stage = ["--stage", str(dataset.about["stage"])] if "stage" in dataset.about else []
    load_job("export").main(["--root", root, "--out", out.root, "--name", note["name"], *stage, *arguments])
