"""stage2: the caption rules → `keep` and `reasons` for every sample, its caption's language and quality, and the caption repaired
where it needs that.

Where the recipe asks how many pictures share a caption, the captions of the whole corpus are counted first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from filters.rules import RuleSetting, evaluate
from filters.stage2 import PICTURES, QUALITY, QUALITY_PARTS, columns_of, final_quality
from filters.text.language import identify
from filters.text.repair import repair
from pipelines.corpus.caption_counts import FAMILY as COUNTS
from pipelines.corpus.caption_counts import count_captions, read_counts
from pipelines.manifest.join import read_columns
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import start_ray
from pipelines.runtime.score_models import require_score_models
from pipelines.runtime.step import PartResult, Step, run_step
from pipelines.runtime.verdicts import describe, inputs_of, verdict_counts

FAMILY = "stage2"
ROWS = 1 << 16  # judged at a time: many, as every pattern is compiled for each such table; so few that they take 50 MB


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
    work = partial(_judge, rules=rules, columns=columns, counts=COUNTS in inputs, repairs=repairs)
    return Step(FAMILY, inputs, lambda part: settings, work)


def _judge(
    storage: Storage,
    part: Part,
    reporter: Reporter,
    *,
    rules: Sequence[RuleSetting],
    columns: Sequence[str],
    counts: bool,
    repairs: bool,
) -> PartResult:
    known = read_columns(storage, part, dict.fromkeys(["caption", *columns]))
    pictures = read_counts(storage, part, known["sample_id"]) if counts else pa.nulls(len(known), pa.int32())
    verdicts, counts_of_all = list[pa.Table](), Counter[str]()
    for start in range(0, max(1, len(known)), ROWS):
        rows = known.slice(start, ROWS)
        table = _verdicts(rows, pictures.slice(start, ROWS), rules, part.source, repairs=repairs)
        keep, reasons = (table[name].combine_chunks() for name in ("keep", "reasons"))
        counts_of_all.update(verdict_counts(keep, reasons), repaired=len(rows) - table["caption_repaired"].null_count)
        verdicts.append(table)
        reporter(len(rows))
    return PartResult(pa.concat_tables(verdicts), counts_of_all)


def _verdicts(known: pa.Table, pictures: pa.Array, rules: Sequence[RuleSetting], source: str, *, repairs: bool) -> pa.Table:
    """The family's columns for rows of a part, given their captions, what else rules read, and how many pictures share each."""
    repaired = repair(known["caption"]) if repairs else pa.nulls(len(known), pa.string())
    computed = columns_of(known["caption"], repaired)
    columns_by_name = [dict(zip(table.column_names, table.columns, strict=True)) for table in (known, computed)]
    table = pa.table(columns_by_name[0] | columns_by_name[1] | {PICTURES: pictures})
    keep, reasons = evaluate(table, rules, source)
    language, confidence = identify(table["caption"])
    about = {"caption_repaired": repaired, "language": language, "language_confidence": confidence, PICTURES: pictures}
    about |= {QUALITY: final_quality(table, reasons), QUALITY_PARTS: table[QUALITY_PARTS]}
    return pa.table({"sample_id": table["sample_id"], "keep": keep, "reasons": reasons, **about})


if __name__ == "__main__":
    command_line.run("stage2", main)
