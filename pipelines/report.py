"""report [--out DIR]: one HTML page about the manifest, with report.json and report.md beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filters.rules import RuleSetting
from filters.stage2 import QUALITY
from infra.compat.errors import RequestError
from infra.compat.paths import absolute
from pipelines.manifest import connect
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.reporting import numbers, page, truth
from pipelines.reporting.examples import examples
from pipelines.reporting.training import training_runs
from pipelines.runtime import command_line


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Writes the report."""
    parser = command_line.parser("report", __doc__ or "")
    parser.add_argument("--out", metavar="DIR", help="the folder for the page (default: the recipe's)")
    parser.add_argument("--title", help="of the page (default: the recipe's)")
    parser.add_argument("--truth", metavar="FILE", help="Parquet of sample_id, defect, of: count what became of these defects")
    parser.add_argument(
        "--training", type=Path, metavar="DIR", help="the output of trainer_bridge.train, or a folder of such outputs"
    )
    parser.add_argument("--note", action="append", default=[], help="a remark at the top of the page")
    options = parser.parse_args(argv)
    recipe = recipe_of(options)
    rules, title = [*recipe.stage1_rules(), *quality_rules(recipe)], options.title or recipe.report.title
    storage = Storage(options.root)
    parts = command_line.require_parts(storage)
    out = _folder(options.out or recipe.report.out)
    connection = connect(options.root)
    report = numbers.all_numbers(connection, storage, parts, rules) | {"notes": options.note}
    if options.truth:
        report["planted"] = truth.planted(connection, options.truth)
        report["separation"] = truth.separation(connection)
    if options.training:
        report["training"] = training_runs(options.training)
    (out / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "report.md").write_text(page.markdown(report, title), encoding="utf-8")
    (out / "index.html").write_text(page.html(report, examples(connection, storage), title), encoding="utf-8")
    return {
        "report": str(out / "index.html"),
        "samples": report["funnel"][1]["samples"],
        "exported": report["funnel"][-1]["samples"],
    }


def quality_rules(recipe: Recipe) -> list[RuleSetting]:
    """The rules of stage 2 that judge the caption's quality, which the manifest has as a column."""
    return [setting for setting in recipe.stage2_rules() if setting.rule.columns == (QUALITY,)]


def check(recipe: Recipe) -> None:
    """RequestError where the recipe's report has a place that cannot be written."""
    _folder(recipe.report.out)


def _folder(out: str) -> Path:
    """The folder of the report, made; RequestError when it cannot be."""
    if not out:
        raise RequestError("no place for the report; give --out, or set report.out in the recipe")
    if "://" in absolute(out):
        raise RequestError(f"--out {out} is no folder of this machine; name one, and copy the page from there")
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--out {out} cannot be made ({error.strerror}); name another folder") from None
    return Path(out)


if __name__ == "__main__":
    command_line.run("report", main)
