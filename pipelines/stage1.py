"""stage1: the six factors → `keep` and `reasons` for every sample, on everything known so far.

Run it before `fetch` (on the published scores, to save downloads) and again after it (sizes as found, downloads that failed).
Our own scores go before the publisher's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from filters.rules import RuleSetting, evaluate
from pipelines.judging.verdicts import describe, inputs_of, verdict_counts
from pipelines.manifest.join import read_columns
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import start_ray
from pipelines.runtime.score_models import require_score_models
from pipelines.runtime.step import PartResult, Step, run_step

FAMILY = "stage1"


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Judges every part whose columns or rules have changed."""
    options = command_line.parser("stage1", __doc__ or "", by_part=True).parse_args(argv)
    recipe = recipe_of(options)
    step = stage1_step(recipe)
    storage = Storage(options.root)
    parts = command_line.selected_parts(storage, options.only)
    require_score_models(storage, parts, recipe.stage1_rules(), FAMILY)
    start_ray(options.address)
    return command_line.summary(run_step(storage, step, parts))


def stage1_step(recipe: Recipe) -> Step:
    """The step that judges a part by the recipe's rules."""
    rules = recipe.stage1_rules()
    settings, (inputs, columns) = describe(rules), inputs_of(rules, FAMILY)
    return Step(FAMILY, inputs, lambda part: settings, partial(_judge, rules=rules, columns=columns))


def _judge(
    storage: Storage, part: Part, reporter: Reporter, *, rules: Sequence[RuleSetting], columns: Sequence[str]
) -> PartResult:
    table = read_columns(storage, part, columns)
    keep, reasons = evaluate(table, rules, part.source)
    reporter(part.rows)
    verdicts = pa.table({"sample_id": table["sample_id"], "keep": keep, "reasons": reasons})
    return PartResult(verdicts, verdict_counts(keep, reasons))


if __name__ == "__main__":
    command_line.run("stage1", main)
