"""report [--out DIR]: one HTML page about the manifest, with report.json and report.md beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.compat.errors import RequestError
from pipelines.manifest import connect
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.reporting import examples, numbers, page
from pipelines.runtime import command_line


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Writes the report."""
    parser = command_line.parser("report", __doc__ or "")
    parser.add_argument("--out", metavar="DIR", help="where the page goes (default: the recipe's)")
    parser.add_argument("--title", help="of the page (default: the recipe's)")
    parser.add_argument("--truth", metavar="FILE", help="parquet of sample_id, defect, of: planted defects, to be counted")
    parser.add_argument(
        "--training", type=Path, metavar="DIR", help="what trainer_bridge.train wrote, or a folder of such, by stage"
    )
    parser.add_argument("--note", action="append", default=[], help="a remark to print on top")
    options = parser.parse_args(argv)
    recipe = recipe_of(options)
    rules, title = recipe.stage1_rules(), options.title or recipe.report.title
    storage = Storage(options.root)
    parts = command_line.require_parts(storage)
    out = _folder(options.out or recipe.report.out)
    connection = connect(options.root)
    found = numbers.all_numbers(connection, storage, parts, rules) | {"notes": options.note}
    if options.truth:
        found["planted"] = numbers.planted(connection, options.truth)
        found["separation"] = numbers.separation(connection)
    if options.training:
        found["training"] = numbers.training(options.training)
    (out / "report.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "report.md").write_text(page.markdown(found, title), encoding="utf-8")
    shown = page.html(found, examples.examples(connection, storage), title)
    (out / "index.html").write_text(shown, encoding="utf-8")
    return {
        "report": str(out / "index.html"),
        "samples": found["funnel"][1]["samples"],
        "exported": found["funnel"][-1]["samples"],
    }


def check(recipe: Recipe) -> None:
    """RequestError where the recipe's report has a place that cannot be written."""
    _folder(recipe.report.out)


def _folder(out: str) -> Path:
    """The folder of the report, made; RequestError when it cannot be."""
    if not out:
        raise RequestError("no place for the report; give --out, or set report.out in the recipe")
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--out {out} cannot be made ({error.strerror}); name another folder") from None
    return Path(out)


if __name__ == "__main__":
    command_line.run("report", main)
