"""report --out DIR: one HTML page about the manifest, with report.json and report.md beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.compat.errors import RequestError
from pipelines.manifest import connect
from pipelines.manifest.storage import Storage
from pipelines.recipe import recipe_of
from pipelines.reporting import examples, numbers, page
from pipelines.runtime import command_line


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Writes the report."""
    parser = command_line.parser("report", __doc__ or "")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the page goes")
    parser.add_argument("--title", default="Pairmill report")
    parser.add_argument("--truth", metavar="FILE", help="parquet of sample_id, defect, of: planted defects, to be counted")
    parser.add_argument(
        "--training", type=Path, metavar="DIR", help="what trainer_bridge.train wrote, or a folder of such, by stage"
    )
    parser.add_argument("--note", action="append", default=[], help="a remark to print on top")
    options = parser.parse_args(argv)
    rules = recipe_of(options).stage1_rules()
    storage = Storage(options.root)
    parts = command_line.require_parts(storage)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--out {options.out} cannot be made ({error.strerror}); name another folder") from None
    connection = connect(options.root)
    found = numbers.all_numbers(connection, storage, parts, rules) | {"notes": options.note}
    if options.truth:
        found["planted"] = numbers.planted(connection, options.truth)
        found["separation"] = numbers.separation(connection)
    if options.training:
        found["training"] = numbers.training(options.training)
    (options.out / "report.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (options.out / "report.md").write_text(page.markdown(found, options.title), encoding="utf-8")
    shown = page.html(found, examples.examples(connection, storage), options.title)
    (options.out / "index.html").write_text(shown, encoding="utf-8")
    return {
        "report": str(options.out / "index.html"),
        "samples": found["funnel"][1]["samples"],
        "exported": found["funnel"][-1]["samples"],
    }


if __name__ == "__main__":
    command_line.run("report", main)
