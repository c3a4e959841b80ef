"""status: for each family and source, parts and rows done and to do, the rate so far and the time that is left.

A part is stale where its receipt is not the one that the recipe and the part's inputs would give now: a run of the job does it
again, or, where it costs, looks whether anything is lacking. The JSON also says what costly results were paid for with.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from pipelines.fetch import Asking, fetch_step
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import read_receipts
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.progress import duration
from pipelines.runtime.step import Step, fingerprints
from pipelines.stage1 import stage1_step
from pipelines.stage2 import stage2_step

HEADER = f"{'family':<16} {'source':<14} {'parts':>11} {'stale':>6} {'rows':>25} {'rows/s':>10} {'left':>8}"


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Prints the table; the last line of stdout is the same as JSON."""
    options = command_line.parser("status", __doc__ or "").parse_args(argv)
    storage = Storage(options.root)
    parts = command_line.require_parts(storage)
    made = {path.split("/")[1] for path in storage.glob("manifest/*/*")}
    always = ("samples", "stage1", "fetch", "dedup", "stage2")
    families = [*always, *sorted(made - {"rejects", *always})]
    steps = {step.family: step for step in _steps(recipe_of(options))}
    rows = [
        status_of(storage, family, source, own, steps.get(family))
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


def _steps(recipe: Recipe) -> list[Step]:
    """The steps whose settings are all in the recipe."""
    return [stage1_step(recipe), fetch_step(Asking(recipe.fetch)), stage2_step(recipe)]


def status_of(storage: Storage, family: str, source: str, parts: Sequence[Part], step: Step | None = None) -> dict[str, Any]:
    """Counts for one family of one source; rate in rows per second of one worker. `stale` is None where `step` is not known."""
    receipts = read_receipts(storage, family, parts)
    done = sum(part.rows for part in receipts)
    seconds = sum(receipt.seconds for receipt in receipts.values())
    wanted = fingerprints(storage, step, parts) if step and receipts else {}
    paid_with = {json.dumps(receipt.settings, sort_keys=True) for receipt in receipts.values() if receipt.settings}
    return {
        "family": family,
        "source": source,
        "parts": len(parts),
        "parts_done": len(receipts),
        "stale": sum(receipt.fingerprint != wanted.get(part) for part, receipt in receipts.items()) if step else None,
        "paid_with": [json.loads(settings) for settings in sorted(paid_with)],
        "rows": sum(part.rows for part in parts),
        "rows_done": done,
        "rate": round(done / seconds, 1) if seconds else None,
    }


def _line(row: dict[str, Any]) -> str:
    left = row["rows"] - row["rows_done"]
    rate = f"{row['rate']:,.0f}" if row["rate"] else "-"
    remaining = "done" if not left else duration(left / row["rate"]) if row["rate"] else "?"
    parts = f"{row['parts_done']} / {row['parts']}"
    rows = f"{row['rows_done']:,} / {row['rows']:,}"
    stale = "-" if row["stale"] is None else row["stale"]
    return f"{row['family']:<16} {row['source']:<14} {parts:>11} {stale:>6} {rows:>25} {rate:>10} {remaining:>8}"


if __name__ == "__main__":
    command_line.run("status", main)
