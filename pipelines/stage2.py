"""stage2: the caption rules → `keep` and `reasons` for every sample."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from filters.language import identify
from filters.rules import RuleSetting, evaluate
from pipelines import job
from pipelines.engine import Made, Step, run_step, start_ray
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.progress import Reporter
from pipelines.recipe import Recipe, describe
from pipelines.stage1 import verdicts


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Judges every part whose captions or rules have changed."""
    options = job.parser("stage2", __doc__ or "", by_part=True).parse_args(argv)
    recipe = job.recipe_of(options)
    storage = Storage(options.root)
    parts = job.wanted_parts(storage, options.only)
    start_ray(options.address)
    return job.summary(run_step(storage, stage2_step(recipe), parts))


def stage2_step(recipe: Recipe) -> Step:
    """The step that judges a part's captions by the recipe's rules."""
    rules = recipe.stage2_rules()
    settings = describe(rules)
    return Step("stage2", ("samples",), lambda part: settings, partial(_judge, rules=rules), version=2)


def _judge(storage: Storage, part: Part, reporter: Reporter, *, rules: Sequence[RuleSetting]) -> Made:
    columns = ["sample_id", *sorted({"caption"} | {name for setting in rules for name in setting.rule.columns})]
    samples = storage.read_parquet(part.path("samples"), columns)
    keep, reasons = evaluate(samples, rules, part.source)
    language, confidence = identify(samples["caption"])
    reporter(part.rows)
    made = {"keep": keep, "reasons": reasons, "language": language, "language_confidence": confidence}
    return Made(pa.table({"sample_id": samples["sample_id"], **made}), verdicts(keep, reasons))


if __name__ == "__main__":
    job.run("stage2", main)
