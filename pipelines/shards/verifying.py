"""Shards beside their summary and indexes, and samples beside the manifest, many shards at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items, start_ray
from pipelines.shards.pairing import Pairs, pairing_faults, pairs_of
from sharding.checks import Fault, shard_faults, undecodable
from sharding.index import Dataset, Shard

MOST = 100  # faults that are named of one shard


@dataclass(frozen=True)
class Verified:
    """The faults in order, of each shard at most MOST; `encoded_anew` pictures of an export could not be compared."""

    faults: tuple[Fault, ...]
    encoded_anew: int = 0

    @property
    def faulty(self) -> dict[str, str]:
        """Shard → its first fault."""
        return {fault.shard: fault.what for fault in reversed(self.faults)}


def verify_shards(dataset: Dataset, shards: Sequence[Shard], *, decode: bool, root: str | None, address: str | None) -> Verified:
    """The faults of these shards; with `root` also of their samples beside the manifest there.

    RequestError where that manifest has no export at the dataset's place.
    """
    pairs = pairs_of(dataset, root) if root else None
    items = [{"label": shard.name, "shard": asdict(shard)} for shard in shards]
    check = partial(_check, dataset=dataset, decode=decode, pairs=pairs)
    start_ray(address)
    faults: list[Fault] = []
    for label, result, error in run_items(items, check, name="verify", unit="shards", total=len(items)):
        faults += [Fault(label, "", error)] if error else [Fault(*fault) for fault in result["faults"]]
    unpaired, encoded_anew = pairing_faults(pairs) if pairs else ([], 0)
    return Verified(tuple(_few(sorted([*faults, *unpaired]))), encoded_anew)


def _check(item: dict[str, Any], reporter: Reporter, *, dataset: Dataset, decode: bool, pairs: Pairs | None) -> dict[str, Any]:
    shard = Shard(**item["shard"])
    rows = pairs.rows(shard.name) if pairs else None
    checks = [*([undecodable] if decode else []), *([rows.add] if rows else [])]
    problems = shard_faults(dataset, shard, checks)
    if rows:
        rows.write()
    reporter(1)
    return {"faults": _few(problems)}


def _few(faults: Sequence[Fault]) -> list[Fault]:
    """The faults, of each shard no more than can be read."""
    by_shard: dict[str, list[Fault]] = {}
    for fault in faults:
        by_shard.setdefault(fault.shard, []).append(fault)
    shown = []
    for shard, own in by_shard.items():
        shown += own[:MOST] + ([Fault(shard, "", f"and {len(own) - MOST:,} more faults")] if len(own) > MOST else [])
    return shown
