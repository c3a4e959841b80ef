"""verify URI: shards, ours or others', beside what their summary and indexes say; every fault is named.

Sizes, checksums where they were recorded, and headers beside the index; with --decode every picture, text and json; with --root
of an export also that each sample has the caption and the picture of its row. --repair writes faulty shards again, and no others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from infra.compat.paths import absolute
from pipelines.runtime import command_line
from pipelines.runtime.parser import job_parser
from pipelines.runtime.terminal import printable
from pipelines.shards.indexing import indexed_dataset
from pipelines.shards.pairing import pairs_of
from pipelines.shards.verifying import find_faults, named, repair
from sharding.checks import Fault


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Prints the faults; the JSON holds the same."""
    parser = job_parser("verify", __doc__ or "")
    parser.add_argument("uri", metavar="URI", help="shards with an index: an export's, reshard's, or those of `pairmill index`")
    parser.add_argument("--decode", action="store_true", help="also decode every picture, text and json")
    parser.add_argument("--root", metavar="URI", help="the manifest of an export, whose rows are compared")
    parser.add_argument(
        "--repair", action="store_true", help="write faulty shards, or their indexes, again; an export needs --root"
    )
    parser.add_argument("--recipe", metavar="FILE", help="the recipe of the export, for --repair")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting of the recipe")
    parser.add_argument("--address", metavar="ADDRESS", help=command_line.ADDRESS)
    options = parser.parse_args(argv)
    uri = absolute(options.uri)

    def check(only: set[str] | None = None) -> tuple[list[Fault], int, dict[str, Any]]:
        dataset = indexed_dataset(uri)
        pairs = pairs_of(dataset, options.root) if options.root else None
        every = [shard for shards in dataset.splits.values() for shard in shards]
        shards = [shard for shard in every if only is None or shard.name in only]
        faults, encoded_anew = find_faults(dataset, shards, decode=options.decode, pairs=pairs, address=options.address)
        counts = {"shards": len(every), "samples": sum(shard.samples for shard in every)}
        return faults, encoded_anew, {**counts, "without_checksum": sum(not shard.sha256 for shard in every)}

    faults, encoded_anew, counts = check()
    faulty = {fault.shard for fault in faults}
    if faulty and options.repair:
        _print(faults)
        settings = [*(["--recipe", options.recipe] if options.recipe else []), *(f"--set={change}" for change in options.set)]
        repair(indexed_dataset(uri), faulty, options.root, settings, options.address)
        faults, _, counts = check(faulty)
        counts["repaired"] = len(faulty - {fault.shard for fault in faults})
    if options.root:
        counts["encoded_anew"] = encoded_anew
    _print(faults)
    by_shard = {fault.shard: fault.what for fault in reversed(faults)}
    return {**counts, "faults": [fault._asdict() for fault in named(faults)], "failed": by_shard}


def _print(faults: Sequence[Fault]) -> None:
    """The faults as a table."""
    width = max((len(fault.shard) for fault in faults), default=0)
    for fault in named(faults):
        sys.stdout.write(printable(f"{fault.shard:<{width}}  {fault.sample or '-':<16}  {fault.what}") + "\n")


if __name__ == "__main__":
    command_line.run("verify", main)
