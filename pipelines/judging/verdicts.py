"""What the two filters share: which columns and families their rules read, and how verdicts are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import RuleSetting, required_columns
from filters.stage2 import PICTURES, QUALITY
from infra.compat.errors import RequestError
from pipelines.manifest.precedence import families_of, places_of

# The families that the rules of a stage may read: what is known before it, whatever is done first.
MAY_READ = {
    "stage1": ("samples", "tags", "fetch", "scores"),
    "stage2": ("samples", "tags", "fetch", "scores", "stage1", "dedup", "captions"),
}
# Columns that a stage works out itself → the family of intermediate results they come from, None for those of captions alone.
COMPUTED: dict[str, dict[str, str | None]] = {"stage1": {}, "stage2": {PICTURES: "caption_counts", QUALITY: None}}


def describe(rules: Sequence[RuleSetting]) -> Mapping[str, Any]:
    """What verdicts depend on, as plain JSON values: each rule's settings and content, and where each column is taken from."""
    columns = {column: places_of(column) for column in required_columns(rules)}
    return {"rules": {setting.rule.name: setting.describe() for setting in rules}, "columns": columns}


def inputs_of(rules: Sequence[RuleSetting], stage: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(families, columns of the manifest) that the enabled rules of a stage read: a rule's `columns` are what is read.

    RequestError for a column that is only known after the stage.
    """
    computed, required = COMPUTED[stage], required_columns(rules)
    columns = tuple(column for column in required if column not in computed)
    for column in columns:
        if {family for family, _ in places_of(column)} - set(MAY_READ[stage]):
            (name, *_) = [setting.rule.name for setting in rules if setting.is_used and column in setting.rule.columns]
            raise RequestError(
                f"rule {name!r} of {stage} reads {column}, which is not known before {stage}; let it read columns of "
                f"{', '.join(MAY_READ[stage])}, or disable it"
            )
    families = [family for family in families_of(columns) if family != "samples"]
    intermediate = [family for column in required if (family := computed.get(column))]
    return ("samples", *families, *intermediate), columns


def verdict_counts(keep: pa.Array, reasons: pa.Array) -> dict[str, int]:
    """Counts for a receipt: kept, dropped, and every reason."""
    kept = pc.sum(keep).as_py() or 0
    by_reason = pc.value_counts(reasons.flatten()).to_pylist()
    return {"kept": kept, "dropped": len(keep) - kept, **{f"reason.{r['values']}": r["counts"] for r in by_reason}}
