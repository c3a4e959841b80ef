"""stage2: the caption rules → `keep` and `reasons` for every sample, its caption's language and quality, and the caption repaired
where it needs that.

Where the recipe asks how many pictures share a caption, the captions of the whole corpus are counted first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from pipelines.corpus.caption_counts import FAMILY as COUNTS
from pipelines.corpus.caption_counts import count_captions, read_counts
from pipelines.judging.captions import judge_part
from pipelines.judging.verdicts import describe, inputs_of
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.runner import start_ray
from pipelines.runtime.score_models import require_score_models
from pipelines.runtime.step import Step, run_step

FAMILY = "stage2"


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Judges every part whose captions or rules have changed."""
    options = command_line.parser("stage2", __doc__ or "", by_part=True).parse_args(argv)
    recipe = recipe_of(options)
    step = stage2_step(recipe)
    storage = Storage(options.root)
    parts = command_line.selected_parts(storage, options.only)
    require_score_models(storage, parts, recipe.stage2_rules(), FAMILY)
    start_ray(options.address)
    if COUNTS in step.inputs:
        counted = count_captions(storage, command_line.require_parts(storage))
        if counted.failed:
            return command_line.summary(counted)
    return command_line.summary(run_step(storage, step, parts))


def stage2_step(recipe: Recipe) -> Step:
    """The step that judges a part's captions by the recipe's rules."""
    rules = recipe.stage2_rules()
    repairs, (inputs, columns) = recipe.stage2_repairs(), inputs_of(rules, FAMILY)
    settings = {**describe(rules), "repair": repairs}
    work = partial(
        judge_part, rules=rules, columns=columns, read_counts=read_counts if COUNTS in inputs else None, repairs=repairs
    )
    return Step(FAMILY, inputs, lambda part: settings, work, little_memory=True)


if __name__ == "__main__":
    command_line.run("stage2", main)
