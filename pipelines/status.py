"""status: for each family and source, parts and rows done and to do, the rate so far and the time that is left."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from pipelines import job
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import read_receipts
from pipelines.manifest.storage import Storage
from pipelines.progress import duration

HEADER = f"{'family':<16} {'source':<14} {'parts':>11} {'rows':>25} {'rows/s':>10} {'left':>8}"


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Prints the table; the last line of stdout is the same as JSON."""
    options = job.parser("status", __doc__ or "").parse_args(argv)
    storage = Storage(options.root)
    parts = job.require_parts(storage)
    made = {path.split("/")[1] for path in storage.glob("manifest/*/*")}
    always = ("samples", "stage1", "fetch", "dedup", "stage2")
    families = [*always, *sorted(made - {"rejects", *always})]
    rows = [status_of(storage, family, source, own) for family in families for source, own in by_source(parts).items()]
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


def status_of(storage: Storage, family: str, source: str, parts: Sequence[Part]) -> dict[str, Any]:
    """Counts for one family of one source; rate in rows per second of one worker."""
    receipts = read_receipts(storage, family, parts)
    done = sum(part.rows for part in receipts)
    seconds = sum(receipt.seconds for receipt in receipts.values())
    return {
        "family": family,
        "source": source,
        "parts": len(parts),
        "parts_done": len(receipts),
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
    return f"{row['family']:<16} {row['source']:<14} {parts:>11} {rows:>25} {rate:>10} {remaining:>8}"


if __name__ == "__main__":
    job.run("status", main)
