"""stage2: the caption rules → `keep` and `reasons` for every sample.

Where the recipe asks how many pictures share a caption, the captions of the whole corpus are counted first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from filters.rules import RuleSetting, evaluate
from filters.stage2 import PICTURES
from filters.text.language import identify
from pipelines.corpus.caption_counts import count_captions
from pipelines.manifest.join import read_part
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, describe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import start_ray
from pipelines.runtime.step import Made, Step, run_step
from pipelines.stage1 import verdicts


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Judges every part whose captions or rules have changed."""
    options = command_line.parser("stage2", __doc__ or "", by_part=True).parse_args(argv)
    recipe = recipe_of(options)
    storage = Storage(options.root)
    parts = command_line.wanted_parts(storage, options.only)
    start_ray(options.address)
    if asks_for_counts(recipe.stage2_rules()):
        counted = count_captions(storage, command_line.require_parts(storage))
        if counted.failed:
            return command_line.summary(counted)
    return command_line.summary(run_step(storage, stage2_step(recipe), parts))


def stage2_step(recipe: Recipe) -> Step:
    """The step that judges a part's captions by the recipe's rules."""
    rules = recipe.stage2_rules()
    settings, inputs = describe(rules), ("samples", *(("caption_counts",) if asks_for_counts(rules) else ()))
    return Step("stage2", inputs, lambda part: settings, partial(_judge, rules=rules), version=4)


def asks_for_counts(rules: Sequence[RuleSetting]) -> bool:
    """Whether a rule that is on reads how many pictures share a caption."""
    return any(setting.enabled and PICTURES in setting.rule.columns for setting in rules)


def _judge(storage: Storage, part: Part, reporter: Reporter, *, rules: Sequence[RuleSetting]) -> Made:
    counted = {"caption_counts": ["pictures"]} if asks_for_counts(rules) else {}
    table = read_part(storage, part, {"samples": ["caption", "caption_chars", "caption_words"], **counted})
    pictures = table["caption_counts_pictures"] if counted else pa.nulls(len(table), pa.int32())
    table = table.append_column(PICTURES, pictures)
    keep, reasons = evaluate(table, rules, part.source)
    language, confidence = identify(table["caption"])
    reporter(part.rows)
    found = {"language": language, "language_confidence": confidence, PICTURES: pictures}
    made = pa.table({"sample_id": table["sample_id"], "keep": keep, "reasons": reasons, **found})
    return Made(made, verdicts(keep, reasons))


if __name__ == "__main__":
    command_line.run("stage2", main)
