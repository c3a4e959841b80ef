"""Which thresholds would keep a wanted share of samples. Sorting and counting only: nothing is judged again.

A rule with one threshold drops what lies beyond it, so each sample has a rank in it: the share of samples that the rule drops
before it reaches this one. Scaling all rules together means that each drops k times the share it drops now; a sample then stays
as long as k times that share is within its rank in every rule, so the right k is read off one sorted column.
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
    """Thresholds that were found: rule → value, and the share of all samples that the whole set then keeps."""

    thresholds: Mapping[str, float]
    kept: float


def scalable(settings: Sequence[RuleSetting]) -> list[RuleSetting]:
    """The enabled rules that have one threshold and say what they compare with it."""
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
    """Every rule's own loss times one k, so that `target` of `total` samples stay; `table` holds the known ones, N ≤ total.

    Raises ValueError when no k can give that share.
    """
    moving = [setting for setting in scalable(settings) if own_loss(table, setting, source, total) > 0]
    if not moving:
        raise ValueError("no rule drops anything now, so there is nothing to scale; set thresholds first, or fit one rule")
    fixed = [setting for setting in settings if setting not in moving]
    stays = evaluate(table, fixed, source)[0].to_numpy(zero_copy_only=False)
    shares = [own_loss(table, setting, source, total) for setting in moving]
    orders = [_strictest_first(table, setting) for setting in moving]
    reach = np.full(len(table), np.inf)
    for order, share in zip(orders, shares, strict=True):
        reach[order] = np.minimum(reach[order], np.arange(len(order)) / (share * total))
    reach[~stays] = -1.0
    wanted = _wanted(target, total, int(stays.sum()))
    k = np.sort(reach)[::-1][wanted - 1] if wanted else np.inf
    found = {
        setting.rule.name: _value_at(table, setting, order, k * share * total)
        for setting, order, share in zip(moving, orders, shares, strict=True)
    }
    return _fit(table, settings, source, found, total)


def fit_one(table: pa.Table, settings: Sequence[RuleSetting], name: str, source: str, target: float, total: int) -> Fit:
    """One rule's threshold, the others as they are, so that `target` of `total` samples stay.

    Raises ValueError when no threshold of it can give that share.
    """
    setting = next(setting for setting in settings if setting.rule.name == name)
    others = [other for other in settings if other is not setting]
    stays = evaluate(table, others, source)[0].to_numpy(zero_copy_only=False)
    order = _strictest_first(table, setting)
    order = order[stays[order]]
    wanted = _wanted(target, total, int(stays.sum()))
    drop = int(stays.sum()) - wanted
    if drop > len(order):
        raise ValueError(f"{name} is known of {len(order):,} of the samples that would have to go ({drop:,}); fit another rule")
    return _fit(table, settings, source, {name: _value_at(table, setting, order, drop)}, total)


def _wanted(target: float, total: int, most: int) -> int:
    wanted = round(target * total)
    if wanted > most:
        raise ValueError(f"at most {most / total:.1%} can stay, the rest is lost to other rules or rows; ask for less")
    return wanted


def _strictest_first(table: pa.Table, setting: RuleSetting) -> np.ndarray:
    """Indices of samples with a known measure, in the order in which a tightening threshold drops them: int64[M]."""
    measure = _numbers(table, setting)
    known = np.flatnonzero(~np.isnan(measure))
    values = measure[known]
    return known[np.argsort(values if "min" in setting.rule.thresholds else -values, kind="stable")]


def _numbers(table: pa.Table, setting: RuleSetting) -> np.ndarray:
    assert setting.rule.measure is not None
    numbers: np.ndarray = pc.cast(setting.rule.measure(table), pa.float64()).to_numpy(zero_copy_only=False)
    return numbers


def _value_at(table: pa.Table, setting: RuleSetting, order: np.ndarray, drop: float) -> float:
    """The threshold at which the first `drop` samples of the order go, or fewer where several share a value."""
    measure = _numbers(table, setting)
    if not len(order):
        return float(next(iter(setting.thresholds.values())))
    return float(measure[order[min(int(drop), len(order) - 1)]])


def with_thresholds(setting: RuleSetting, source: str, value: float) -> RuleSetting:
    """The setting with another threshold for one source."""
    (name,) = setting.rule.thresholds
    return replace(setting, by_source={**setting.by_source, source: {**setting.by_source.get(source, {}), name: value}})


def _fit(table: pa.Table, settings: Sequence[RuleSetting], source: str, found: Mapping[str, float], total: int) -> Fit:
    changed = [
        with_thresholds(setting, source, found[setting.rule.name]) if setting.rule.name in found else setting
        for setting in settings
    ]
    return Fit(found, kept_share(table, changed, source, total))
