"""Two recipes compared on one source: samples that stay, leave or come back, and reasons by rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import RuleSetting, evaluate
from pipelines.calibration.samples import Samples

Rules = Sequence[RuleSetting]


def compare(samples: Samples, settings: Rules, then: Samples, others: Rules, source: str) -> dict[str, Any]:
    """What changes from the current rules to others; `then` are the same samples as the others judge them.

    Counts stand for all samples of the source.
    """
    (keep, reasons), (keep_then, reasons_then) = evaluate(samples.table, settings, source), evaluate(then.table, others, source)
    counted = pa.table({"now": keep, "then": keep_then}).group_by(["now", "then"]).aggregate([([], "count_all")]).to_pylist()
    moved = {(row["now"], row["then"]): row["count_all"] * samples.one_in for row in counted}
    names = dict.fromkeys(setting.rule.name for setting in (*settings, *others))
    by_rule = {name: [_count(of, name) * samples.one_in for of in (reasons, reasons_then)] for name in names}
    return {
        "kept_now": (pc.sum(keep).as_py() or 0) / samples.total,
        "kept_then": (pc.sum(keep_then).as_py() or 0) / samples.total,
        "leave": moved.get((True, False), 0),
        "come_back": moved.get((False, True), 0),
        "dropped_by": {name: {"now": now, "then": then} for name, (now, then) in by_rule.items() if now != then},
    }


def _count(reasons: pa.Array, name: str) -> int:
    return pc.sum(pc.equal(reasons.flatten(), name)).as_py() or 0
