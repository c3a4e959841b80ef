"""reshard URI --out URI: the samples of indexed shards, ours or others', as shards of another size or order.

Members are copied as they are, their names become ours: `<sample id in 16 hex digits>.<ending>`. Killed and run again it goes on,
and the bytes are those of a run never killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infra.compat.errors import RequestError
from infra.compat.paths import absolute
from pipelines.manifest.storage import Storage
from pipelines.runtime import command_line
from pipelines.runtime.parser import job_parser
from pipelines.shards.indexing import indexed_dataset
from pipelines.shards.plan import Cut
from pipelines.shards.resharding import run_reshard


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Writes all splits anew."""
    parser = job_parser("reshard", __doc__ or "")
    parser.add_argument("uri", metavar="URI", help="shards with an index: an export's, or those of `pairmill index`")
    parser.add_argument("--out", required=True, metavar="URI", help="where the new shards go, a folder of their own")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--samples-per-shard", type=int, default=0, metavar="N", help="at most so many in each, equal up to one")
    size.add_argument("--bytes-per-shard", type=int, default=0, metavar="N", help="about so many in each, equal up to a sample")
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--seed", type=int, default=0, metavar="S", help="shuffle all samples by a hash (default: 0)")
    order.add_argument("--keep-order", action="store_true", help="leave the samples in the order of shards and tars")
    parser.add_argument("--address", metavar="ADDRESS", help=command_line.ADDRESS)
    options = parser.parse_args(argv)
    if max(options.samples_per_shard, options.bytes_per_shard) < 1 or min(options.samples_per_shard, options.bytes_per_shard) < 0:
        raise RequestError("a shard needs at least one sample or byte; give a number above 0")
    dataset, out = indexed_dataset(absolute(options.uri)), Storage(options.out)
    if out.root in (dataset.uri, dataset.tars):
        raise RequestError(f"--out {out.root} is where the shards lie; give another folder")
    out.require_writable()
    cut = Cut(options.samples_per_shard, options.bytes_per_shard, None if options.keep_order else options.seed)
    return command_line.named_failures(run_reshard(dataset, out, cut, options.address))


if __name__ == "__main__":
    command_line.run("reshard", main)
