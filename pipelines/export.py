"""export --stage S --out URI: kept samples → shuffled, sharded, indexed, checksummed WebDataset.

How samples come into shards is in `pipelines/exporting/shards.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from infra.compat.errors import RequestError
from pipelines.exporting.shards import run_export
from pipelines.manifest.storage import Storage
from pipelines.recipe import recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.runner import start_ray


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Exports the samples that the named stage keeps."""
    parser = command_line.parser("export", __doc__ or "")
    parser.add_argument("--stage", type=int, choices=(1, 2), required=True, help="1: what stage 1 keeps; 2: what both keep")
    parser.add_argument("--out", required=True, metavar="URI", help="where the shards go: a folder or any fsspec URI")
    parser.add_argument("--name", default="", help="the export's name, letters and digits (default: stage1 or stage2)")
    options = parser.parse_args(argv)
    settings = recipe_of(options).export
    name = options.name or f"stage{options.stage}"
    if not re.fullmatch(r"[a-z0-9]+", name):
        raise RequestError(f"--name {name!r} must be small letters and digits: it becomes the view shards_{name}")
    storage, out = Storage(options.root), Storage(options.out)
    parts = command_line.require_parts(storage)
    out.require_writable()
    start_ray(options.address)
    return command_line.summary(run_export(storage, parts, settings, name, options.stage, out))


if __name__ == "__main__":
    command_line.run("export", main)
