"""One source fitted: thresholds for its target, what each rule alone keeps, the captions nearest to the new thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from filters.calibration import (
    Fit,
    Verdicts,
    around_threshold,
    fit_one,
    is_scalable,
    judge,
    measures,
    scale_together,
    threshold_of,
)
from filters.rules import RuleSetting
from pipelines.calibration.samples import Samples
from pipelines.calibration.stages import TOGETHER

EXAMPLES = 10  # captions on either side of a threshold
SEARCHED = 1000  # samples on either side, as captions may be equal


def fit(samples: Samples, settings: Sequence[RuleSetting], source: str, target: float, policy: str) -> dict[str, Any]:
    """What all rules keep now and then, the new `thresholds`, the `rules` one by one; of captions `examples` around a threshold.

    Where the target cannot be met, `problem` says why in place of all but `kept_now`.
    """
    if not len(samples.table):
        return {"target": target, "kept_now": 0.0, "problem": "no sample of it is left to be judged"}
    now = judge(samples.table, settings, source, samples.total)
    result: dict[str, Any] = {"target": target, "kept_now": now.kept}
    try:
        fitted = _fitted(now, settings, target, policy)
    except ValueError as error:
        return result | {"problem": str(error)}
    then = fitted.verdicts
    return result | {
        "kept_then": then.kept,
        "thresholds": dict(fitted.thresholds),
        "rules": [_rule(name, now, then) for name in then.settings],
        "examples": {name: _examples(then, name) for name in fitted.thresholds if "caption" in samples.table.column_names},
    }


def _fitted(now: Verdicts, settings: Sequence[RuleSetting], target: float, policy: str) -> Fit:
    if policy == TOGETHER:
        return scale_together(now, target)
    return fit_one(now, next(setting for setting in settings if setting.rule.name == policy), target)


def _rule(name: str, now: Verdicts, then: Verdicts) -> dict[str, Any]:
    """One rule: its threshold, where it has one, and the share that it alone keeps, now and then."""
    return {
        "rule": name,
        "now": _threshold(now, name),
        "alone_now": 1 - now.loss(name),
        "then": _threshold(then, name),
        "alone_then": 1 - then.loss(name),
    }


def _threshold(verdicts: Verdicts, name: str) -> float | None:
    setting = verdicts.settings.get(name)
    return threshold_of(setting, verdicts.source) if setting and is_scalable(setting) else None


def _examples(verdicts: Verdicts, name: str) -> dict[str, list[dict[str, Any]]]:
    dropped, kept = around_threshold(verdicts, name)
    values = measures(verdicts.table, verdicts.settings[name])
    return {side: _captions(verdicts, values, rows) for side, rows in (("dropped", dropped), ("kept", kept))}


def _captions(verdicts: Verdicts, values: np.ndarray, rows: np.ndarray) -> list[dict[str, Any]]:
    """The first different captions of rows, with their measure."""
    nearest = rows[:SEARCHED]
    texts = verdicts.table["caption"].take(pa.array(nearest)).to_pylist()
    captions: dict[str, float] = {}
    for caption, value in zip(texts, values[nearest].tolist(), strict=True):
        captions.setdefault(caption, value)
    return [{"value": value, "caption": caption} for caption, value in islice(captions.items(), EXAMPLES)]
