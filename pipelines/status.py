"""status: for each family and source, parts and rows done and to do, the rate so far and the time that is left.

A part of a pure step is stale where its inputs, and for the two filters the recipe and the rules, are no longer those of its
receipt: a run of the job computes it again. A costly step (fetch, score, caption) is never stale: its results are cached per
sample, and its rows are the samples that have a result or should have one. The JSON also holds the settings of these results.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipelines.fetching.part import samples_without_result
from pipelines.manifest import embeddings
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import Receipt, completed, read_receipts
from pipelines.manifest.selection import DISTINCT, WITH_PICTURE
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.cache import missing_embeddings, missing_results
from pipelines.runtime.progress import duration
from pipelines.runtime.step import Step, fingerprints, input_digests
from pipelines.stage1 import stage1_step
from pipelines.stage2 import stage2_step

HEADER = f"{'family':<16} {'source':<14} {'parts':>11} {'stale':>6} {'rows':>25} {'to do':>12} {'rows/s':>10} {'left':>8}"
ALWAYS = ("samples", "stage1", "fetch", "dedup", "stage2")  # shown before they are made, too
READERS = 8

Missing = Callable[[Storage, Part], int]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Prints the table; the JSON holds the same."""
    options = command_line.parser("status", __doc__ or "").parse_args(argv)
    recipe = recipe_of(options)
    storage = Storage(options.root)
    parts = command_line.require_parts(storage)
    made = {path.split("/")[1] for path in storage.glob("manifest/*/source=*")}
    families = [*ALWAYS, *sorted(made - {"rejects", *ALWAYS})]
    rows = [
        status_of(storage, family, source, own, steps_of(recipe))
        for family in families
        for source, own in by_source(parts).items()
    ]
    sys.stdout.write(HEADER + "\n")
    for row in rows:
        sys.stdout.write(_line(row) + "\n")
    return {"status": rows}


def by_source(parts: Sequence[Part]) -> dict[str, list[Part]]:
    """Parts grouped by source, in order."""
    grouped: dict[str, list[Part]] = {}
    for part in parts:
        grouped.setdefault(part.source, []).append(part)
    return grouped


@dataclass(frozen=True)
class Steps:
    """What is known of the steps: those whose settings are all in the recipe, and what costly ones lack."""

    pure: Mapping[str, Step]
    missing: Mapping[str, Missing]


def steps_of(recipe: Recipe) -> Steps:
    """The steps as a recipe sets them, by family."""
    captioned = recipe.caption.sources

    def without_caption(storage: Storage, part: Part) -> int:
        return missing_results(storage, part, "captions", DISTINCT) if not captioned or part.source in captioned else 0

    missing: dict[str, Missing] = {
        "fetch": samples_without_result,
        "scores": partial(missing_results, family="scores", conditions=WITH_PICTURE),
        embeddings.FAMILY: missing_embeddings,
        "captions": without_caption,
    }
    return Steps({"stage1": stage1_step(recipe), "stage2": stage2_step(recipe)}, missing)


def status_of(storage: Storage, family: str, source: str, parts: Sequence[Part], steps: Steps) -> dict[str, Any]:
    """Counts for one family of one source; `rate` in rows per second of one worker.

    `stale` counts parts, None for a costly step; `to_do` counts rows: of a costly step those without a result, of others those of
    parts that are not done or stale.
    """
    receipts = completed(storage, family, parts)
    seconds = sum(receipt.seconds for receipt in receipts.values())
    settings = {json.dumps(receipt.settings, sort_keys=True) for receipt in receipts.values() if receipt.settings}
    rows_done = sum(part.rows for part in receipts)
    rows, stale = sum(part.rows for part in parts), None
    if family in steps.missing:
        # Scores and captions are optional: where there are none at all for a source, none are to do.
        todo = _missing(storage, parts, steps.missing[family]) if receipts or family in ALWAYS else 0
        rows_done = sum(receipt.rows_out for receipt in receipts.values())
        rows = rows_done + todo
    else:
        stale = _stale(storage, family, steps, parts, receipts)
        todo = sum(part.rows for part in parts if part not in receipts or part in stale)
    return {
        "family": family,
        "source": source,
        "parts": len(parts),
        "parts_done": len(receipts),
        "stale": None if stale is None else len(stale),
        "result_settings": [json.loads(document) for document in sorted(settings)],
        "rows": rows,
        "rows_done": rows_done,
        "to_do": todo,
        "rate": round(rows_done / seconds, 1) if seconds else None,
    }


def _stale(storage: Storage, family: str, steps: Steps, parts: Sequence[Part], receipts: Mapping[Part, Receipt]) -> set[Part]:
    """The parts that a run of the job would compute again, as far as the recipe and the receipts tell."""
    if family in steps.pure:
        current = fingerprints(storage, steps.pure[family], parts) if receipts else {}
        return {part for part, receipt in receipts.items() if receipt.fingerprint != current.get(part)}
    # What is exported was chosen by the plan of the export, whose inputs are those of the shards.
    plans = read_receipts(storage, family.replace("shards_", "export_", 1), parts)
    families = sorted({name for receipt in plans.values() for name in receipt.inputs})
    inputs = input_digests(storage, families, list(receipts))
    return {
        part
        for part, plan in plans.items()
        if any(inputs.get(part, {}).get(name) != digest for name, digest in plan.inputs.items())
    }


def _missing(storage: Storage, parts: Sequence[Part], missing: Missing) -> int:
    with ThreadPoolExecutor(READERS) as pool:
        return sum(pool.map(partial(missing, storage), parts))


def _line(row: dict[str, Any]) -> str:
    rate = f"{row['rate']:,.0f}" if row["rate"] else "-"
    left = "done" if not row["to_do"] else duration(row["to_do"] / row["rate"]) if row["rate"] else "?"
    parts = f"{row['parts_done']} / {row['parts']}"
    rows = f"{row['rows_done']:,} / {row['rows']:,}"
    stale = "-" if row["stale"] is None else row["stale"]
    return f"{row['family']:<16} {row['source']:<14} {parts:>11} {stale:>6} {rows:>25} {row['to_do']:>12,} {rate:>10} {left:>8}"


if __name__ == "__main__":
    command_line.run("status", main)
