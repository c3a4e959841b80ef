"""index URI: WebDataset tars that others wrote → an index beside each and a summary, without rewriting them.

URI is a folder, a pattern (`part-*/{00000..00127}.tar`) or a tar. Any names, order and endings: `.jpg .jpeg .png .webp …` are the
image, `.txt` or `.caption` the text, others keep their ending. The loader, the trainer, `verify`, `reshard` and `dedup --against`
read the result.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from infra.compat.errors import RequestError
from pipelines.manifest.storage import Storage
from pipelines.runtime import command_line
from pipelines.runtime.parser import job_parser
from pipelines.shards.indexing import run_index
from pipelines.shards.tars import named_tars

SPLIT = re.compile(r"\w[\w.-]*")  # as `reshard` calls shards by it


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Indexes the tars that have changed since the last run."""
    parser = job_parser("index", __doc__ or "")
    parser.add_argument("uri", metavar="URI", help="the tars: a folder, a pattern in quotes, or a file, on any fsspec URI")
    parser.add_argument("--out", metavar="URI", help="where the index goes (default: beside the tars)")
    parser.add_argument("--split", default="train", metavar="NAME", help="the split that the tars are (default: train)")
    parser.add_argument("--checksums", action="store_true", help="also record the sha256 of every tar, which reads all of it")
    parser.add_argument("--address", metavar="ADDRESS", help=command_line.ADDRESS)
    options = parser.parse_args(argv)
    if not SPLIT.fullmatch(options.split):
        raise RequestError(f"--split {options.split!r} begins names of files; give letters and digits, with . _ - between them")
    tars = named_tars(options.uri)
    out = Storage(options.out or tars.folder)
    try:
        out.require_writable()
    except RequestError as error:
        raise RequestError(f"{error}, by --out") from None
    counts = run_index(tars, out, options.split, checksums=options.checksums, address=options.address)
    return command_line.named_failures(counts)


if __name__ == "__main__":
    command_line.run("index", main)
