"""stage1: the six factors → `keep` and `reasons` for every sample, on everything known so far.

Run it before `fetch` (on the published scores, to save downloads) and again after it (sizes as found, downloads that failed).
Our own scores go before the publisher's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import RuleSetting, evaluate
from pipelines.manifest.join import first_known, read_part
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, describe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import start_ray
from pipelines.runtime.step import Made, Step, run_step

TAGS = ("watermark", "unsafe", "aesthetic")
SCORES = ("clip_similarity", *TAGS)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Judges every part whose columns or rules have changed."""
    options = command_line.parser("stage1", __doc__ or "", by_part=True).parse_args(argv)
    recipe = recipe_of(options)
    storage = Storage(options.root)
    parts = command_line.wanted_parts(storage, options.only)
    start_ray(options.address)
    return command_line.summary(run_step(storage, stage1_step(recipe), parts))


def stage1_step(recipe: Recipe) -> Step:
    """The step that judges a part by the recipe's rules."""
    rules = recipe.stage1_rules()
    settings = describe(rules)
    return Step("stage1", ("samples", "tags", "fetch", "scores"), lambda part: settings, partial(_judge, rules=rules))


def _judge(storage: Storage, part: Part, reporter: Reporter, *, rules: Sequence[RuleSetting]) -> Made:
    known = best_known(storage, part)
    keep, reasons = evaluate(known, rules, part.source)
    reporter(part.rows)
    return Made(pa.table({"sample_id": known["sample_id"], "keep": keep, "reasons": reasons}), verdicts(keep, reasons))


def best_known(storage: Storage, part: Part) -> pa.Table:
    """What stage-1 rules read, a row per sample: ours where computed, the picture's own size where fetched, else as published
    with the sample or in a tag table.
    """
    table = read_part(
        storage,
        part,
        {
            "samples": [*SCORES, "width", "height", "caption_chars"],
            "fetch": ["status", "width", "height"],
            "scores": SCORES,
            "tags": TAGS,
        },
    )
    sources = {name: [f"scores_{name}", name] for name in SCORES}
    sources |= {name: [*sources[name], f"tags_{name}"] for name in TAGS}
    sources |= {side: [f"fetch_{side}", side] for side in ("width", "height")}
    best = {name: first_known([table[column] for column in columns]) for name, columns in sources.items()}
    unchanged = ("sample_id", "caption_chars", "fetch_status")
    return pa.table({**{name: table[name] for name in unchanged}, **best})


def verdicts(keep: pa.Array, reasons: pa.Array) -> dict[str, int]:
    """Counts for a receipt: kept, dropped, and every reason."""
    kept = pc.sum(keep).as_py() or 0
    found = pc.value_counts(reasons.flatten()).to_pylist()
    return {"kept": kept, "dropped": len(keep) - kept, **{f"reason.{r['values']}": r["counts"] for r in found}}


if __name__ == "__main__":
    command_line.run("stage1", main)
