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
from pipelines.shards.repairing import repair
from pipelines.shards.verifying import Verified, verify_shards


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Prints the faults; the JSON holds the same."""
    parser = job_parser("verify", __doc__ or "")
    parser.add_argument("uri", metavar="URI", help="shards with an index: an export's, reshard's, or those of `pairmill index`")
    parser.add_argument("--decode", action="store_true", help="also decode every picture, text and json")
    parser.add_argument("--root", metavar="URI", help="the manifest of an export, whose rows are compared")
    parser.add_argument("--repair", action="store_true", help="write faulty shards or indexes again; an export needs --root")
    parser.add_argument("--address", metavar="ADDRESS", help=command_line.ADDRESS)
    options = parser.parse_args(argv)
    uri, checks = absolute(options.uri), {"decode": options.decode, "root": options.root, "address": options.address}
    dataset = indexed_dataset(uri)
    verified, repaired = verify_shards(dataset, dataset.every_shard(), **checks), dict[str, int]()
    if options.repair and verified.faults:
        _print(verified)
        faulty = verified.faulty
        repair(dataset, faulty, options.root, options.address)
        dataset = indexed_dataset(uri)
        again = [shard for shard in dataset.every_shard() if options.root or shard.name in faulty]
        verified = verify_shards(dataset, again, **checks)
        repaired = {"repaired": len(faulty.keys() - verified.faulty.keys())}
    _print(verified)
    shards = dataset.every_shard()
    return {
        "shards": len(shards),
        "samples": sum(shard.samples for shard in shards),
        "without_checksum": sum(not shard.sha256 for shard in shards),
        **({"pictures_not_compared": verified.encoded_anew} if options.root else {}),
        **repaired,
        "faults": [fault._asdict() for fault in verified.faults],
        "failed": verified.faulty,
    }


def _print(verified: Verified) -> None:
    """The faults as a table."""
    width = max((len(fault.shard) for fault in verified.faults), default=0)
    for shard, sample, what in verified.faults:
        sys.stdout.write(printable(f"{shard:<{width}}  {sample or '-':<16}  {what}") + "\n")


if __name__ == "__main__":
    command_line.run("verify", main)
