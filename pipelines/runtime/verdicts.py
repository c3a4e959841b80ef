"""What the two filters share: which columns and families their rules read, and how verdicts are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import RuleSetting, required_columns
from infra.compat.errors import RequestError
from pipelines.manifest.precedence import families_of, places_of


def describe(rules: Sequence[RuleSetting]) -> Mapping[str, Any]:
    """Rule settings and the content of the rules as plain JSON values, by rule name."""
    return {setting.rule.name: setting.describe() for setting in rules}


def inputs_of(
    rules: Sequence[RuleSetting], stage: str, may_read: Sequence[str], computed: Mapping[str, str] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(families, columns of the manifest) that the enabled rules of a stage read: a rule's `columns` are what is read.

    `computed` maps columns that the stage works out itself to the family of intermediate results they come from. RequestError for
    a column that the manifest does not have, or that is only known after the stage.
    """
    computed = computed or {}
    required = required_columns(rules)
    columns = tuple(column for column in required if column not in computed)
    for column in columns:
        later = {family for family, _ in places_of(column)} - set(may_read)
        if later:
            (name, *_) = [setting.rule.name for setting in rules if setting.enabled and column in setting.rule.columns]
            raise RequestError(
                f"rule {name!r} of {stage} reads {column}, which {sorted(later)[0]} writes later; let it read columns of "
                f"{', '.join(may_read)}, or disable it"
            )
    families = [family for family in families_of(columns) if family != "samples"]
    return ("samples", *families, *(computed[column] for column in required if column in computed)), columns


def verdict_counts(keep: pa.Array, reasons: pa.Array) -> dict[str, int]:
    """Counts for a receipt: kept, dropped, and every reason."""
    kept = pc.sum(keep).as_py() or 0
    by_reason = pc.value_counts(reasons.flatten()).to_pylist()
    return {"kept": kept, "dropped": len(keep) - kept, **{f"reason.{r['values']}": r["counts"] for r in by_reason}}
