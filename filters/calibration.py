"""Thresholds that keep a given share of samples, found by sorting and counting alone.

A rule with one threshold drops what lies beyond it, so each sample has a rank in it: the share of samples that a tightening
threshold drops before this one. Scaling all rules together means that each drops k times the share that it drops now; a sample
is kept while, in every rule, k times that share is within its rank. So one sorted column of each sample's largest k gives the k
for any share to keep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import RuleSetting, evaluate


@dataclass(frozen=True)
class Fit:
    """Fitted thresholds, rule → value, and the share of all samples that the whole set keeps with them."""

    thresholds: Mapping[str, float]
    kept: float


def scalable(settings: Sequence[RuleSetting]) -> list[RuleSetting]:
    """The enabled rules that have a measure and one threshold for it."""
    return [setting for setting in settings if setting.enabled and setting.rule.measure and len(setting.rule.thresholds) == 1]


def own_loss(table: pa.Table, setting: RuleSetting, source: str, total: int) -> float:
    """The share of `total` samples that the rule alone drops of table[N]."""
    return _loss(table, [setting], source, total)


def kept_share(table: pa.Table, settings: Sequence[RuleSetting], source: str, total: int) -> float:
    """The share of `total` samples that the whole set keeps of table[N]."""
    keep, _ = evaluate(table, settings, source)
    return (pc.sum(keep).as_py() or 0) / total


def _loss(table: pa.Table, settings: Sequence[RuleSetting], source: str, total: int) -> float:
    return len(table) / total - kept_share(table, settings, source, total)


def scale_together(table: pa.Table, settings: Sequence[RuleSetting], source: str, target: float, total: int) -> Fit:
    """Every rule's own loss times one k, so that the share `target` of `total` samples is kept; table[N] has N ≤ total of them.

    Raises ValueError when no k gives that share.
    """
    moving = [setting for setting in scalable(settings) if own_loss(table, setting, source, total) > 0]
    if not moving:
        raise ValueError("no rule drops anything now, so there is nothing to scale; set thresholds first, or fit one rule")
    fixed = [setting for setting in settings if setting not in moving]
    kept_by_fixed = evaluate(table, fixed, source)[0].to_numpy(zero_copy_only=False)
    shares = [own_loss(table, setting, source, total) for setting in moving]
    orders = [_strictest_first(table, setting) for setting in moving]
    largest_k = np.full(len(table), np.inf)
    for order, share in zip(orders, shares, strict=True):
        largest_k[order] = np.minimum(largest_k[order], np.arange(len(order)) / (share * total))
    largest_k[~kept_by_fixed] = -1.0
    count = _count_to_keep(target, total, int(kept_by_fixed.sum()))
    k = np.sort(largest_k)[::-1][count - 1] if count else np.inf
    thresholds = {
        setting.rule.name: _value_at(table, setting, order, k * share * total)
        for setting, order, share in zip(moving, orders, shares, strict=True)
    }
    return _fit(table, settings, source, thresholds, total)


def fit_one(table: pa.Table, settings: Sequence[RuleSetting], name: str, source: str, target: float, total: int) -> Fit:
    """One rule's threshold, the others as they are, so that the share `target` of `total` samples is kept.

    Raises ValueError when no threshold gives that share.
    """
    setting = next(setting for setting in settings if setting.rule.name == name)
    others = [other for other in settings if other is not setting]
    kept_by_others = evaluate(table, others, source)[0].to_numpy(zero_copy_only=False)
    order = _strictest_first(table, setting)
    order = order[kept_by_others[order]]
    drop = int(kept_by_others.sum()) - _count_to_keep(target, total, int(kept_by_others.sum()))
    if drop > len(order):
        raise ValueError(f"{name} has a value for {len(order):,} of the {drop:,} samples to be dropped; fit another rule")
    return _fit(table, settings, source, {name: _value_at(table, setting, order, drop)}, total)


def _count_to_keep(target: float, total: int, most: int) -> int:
    count = round(target * total)
    if count > most:
        raise ValueError(f"at most {most / total:.1%} can stay, the rest is lost to other rules or rows; ask for less")
    return count


def _strictest_first(table: pa.Table, setting: RuleSetting) -> np.ndarray:
    """Indices of the samples with a measure, in the order in which a tightening threshold drops them: int64[M]."""
    measure = _numbers(table, setting)
    known = np.flatnonzero(~np.isnan(measure))
    values = measure[known]
    return known[np.argsort(values if "min" in setting.rule.thresholds else -values, kind="stable")]


def _numbers(table: pa.Table, setting: RuleSetting) -> np.ndarray:
    assert setting.rule.measure is not None
    numbers: np.ndarray = pc.cast(setting.rule.measure(table), pa.float64()).to_numpy(zero_copy_only=False)
    return numbers


def _value_at(table: pa.Table, setting: RuleSetting, order: np.ndarray, drop: float) -> float:
    """The threshold that drops the first `drop` samples of the order, or fewer where several have one value."""
    measure = _numbers(table, setting)
    if not len(order):
        return float(next(iter(setting.thresholds.values())))
    return float(measure[order[min(int(drop), len(order) - 1)]])


def with_thresholds(setting: RuleSetting, source: str, value: float) -> RuleSetting:
    """The setting with another threshold for one source."""
    (name,) = setting.rule.thresholds
    return replace(setting, by_source={**setting.by_source, source: {**setting.by_source.get(source, {}), name: value}})


def _fit(table: pa.Table, settings: Sequence[RuleSetting], source: str, thresholds: Mapping[str, float], total: int) -> Fit:
    changed = [
        with_thresholds(setting, source, thresholds[setting.rule.name]) if setting.rule.name in thresholds else setting
        for setting in settings
    ]
    return Fit(thresholds, kept_share(table, changed, source, total))
