"""Thresholds that keep a given share of samples, found by sorting and counting alone.

A rule with one threshold drops what lies beyond it, so each sample has a rank in it: the share of samples that a tightening
threshold drops before this one. Scaling all rules together means that each drops k times the share that it drops now; a sample
is kept while, in every rule, k times that share is within its rank. So one sorted column of each sample's largest k gives the k
for any share to keep.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import RuleSetting, failures


@dataclass(frozen=True)
class Verdicts:
    """Which samples of table[N], of one source, each enabled rule drops; each rule is evaluated once.

    total     the samples that the shares are of: those in the table and those lost before
    settings  rule's name → its setting
    failed    rule's name → bool[N]
    """

    table: pa.Table
    source: str
    total: int
    settings: Mapping[str, RuleSetting]
    failed: Mapping[str, np.ndarray]

    @property
    def kept(self) -> float:
        """The share of `total` that all rules together keep."""
        return float(self.kept_by_others(()).sum() / self.total)

    def loss(self, name: str) -> float:
        """The share of `total` that a rule alone drops; 0 for one that is not enabled."""
        return float(self.failed[name].sum() / self.total) if name in self.failed else 0.0

    def kept_by_others(self, names: Collection[str]) -> np.ndarray:
        """Whether each sample is kept by the rules besides those named: bool[N]."""
        kept = np.ones(len(self.table), dtype=bool)
        for name, failed in self.failed.items():
            if name not in names:
                kept &= ~failed
        return kept

    def changed(self, settings: Sequence[RuleSetting]) -> Verdicts:
        """Those with these settings, whose rules judge the source then, in place of what the same rules have now."""
        names = {setting.rule.name: setting for setting in settings}
        failed = {name: failures(self.table, setting, self.source) for name, setting in names.items()}
        return replace(self, settings={**self.settings, **names}, failed={**self.failed, **failed})


@dataclass(frozen=True)
class Fit:
    """Fitted thresholds, rule → value, and the verdicts with them."""

    thresholds: Mapping[str, float]
    verdicts: Verdicts


def judge(table: pa.Table, settings: Sequence[RuleSetting], source: str, total: int) -> Verdicts:
    """The verdicts of the rules that are enabled for `source` on table[N]; N ≤ total."""
    return Verdicts(table, source, total, {}, {}).changed([setting for setting in settings if setting.is_enabled(source)])


def is_scalable(setting: RuleSetting) -> bool:
    """Whether calibration can move the rule: it has one threshold, a least or a most, and a measure that it is compared with."""
    return setting.rule.measure is not None and list(setting.rule.thresholds) in (["min"], ["max"])


def scale_together(verdicts: Verdicts, target: float) -> Fit:
    """Every rule's own loss times one k, so that the share `target` of the total is kept.

    Raises ValueError when no k gives that share.
    """
    moving = [setting for name, setting in verdicts.settings.items() if is_scalable(setting) and verdicts.loss(name) > 0]
    if not moving:
        raise ValueError("no rule drops anything now, so there is nothing to scale; set thresholds first, or fit one rule")
    kept_by_fixed = verdicts.kept_by_others({setting.rule.name for setting in moving})
    counts = [verdicts.loss(setting.rule.name) * verdicts.total for setting in moving]
    orders = [strictest_first(verdicts.table, setting) for setting in moving]
    largest_k = np.full(len(verdicts.table), np.inf)
    for (order, _), count in zip(orders, counts, strict=True):
        largest_k[order] = np.minimum(largest_k[order], np.arange(len(order)) / count)
    largest_k[~kept_by_fixed] = -1.0
    keep = _count_to_keep(target, verdicts.total, int(kept_by_fixed.sum()))
    k = np.sort(largest_k)[::-1][keep - 1] if keep else np.inf
    values = [
        _value_at(setting, verdicts.source, ordered, k * count)
        for setting, (_, ordered), count in zip(moving, orders, counts, strict=True)
    ]
    return _fit(verdicts, moving, values)


def fit_one(verdicts: Verdicts, setting: RuleSetting, target: float) -> Fit:
    """One rule's threshold, the others as they are, so that the share `target` of the total is kept.

    The rule judges the source then, whether it does now or not. Raises ValueError when no threshold gives that share.
    """
    name = setting.rule.name
    kept_by_others = verdicts.kept_by_others({name})
    order, values = strictest_first(verdicts.table, setting)
    values = values[kept_by_others[order]]
    kept = int(kept_by_others.sum())
    drop = kept - _count_to_keep(target, verdicts.total, kept)
    if drop > len(values):
        raise ValueError(f"{name} has a value for {len(values):,} of the {drop:,} samples to be dropped; fit another rule")
    return _fit(verdicts, [setting], [_value_at(setting, verdicts.source, values, drop)])


def _count_to_keep(target: float, total: int, most: int) -> int:
    count = round(target * total)
    if count > most:
        raise ValueError(f"at most {most / total:.1%} can stay, the rest is lost to other rules or rows; ask for less")
    return count


def strictest_first(table: pa.Table, setting: RuleSetting) -> tuple[np.ndarray, np.ndarray]:
    """Indices int64[M] of samples with a measure, as a tightening threshold drops them one by one, and their measures."""
    numbers = measures(table, setting)
    known = np.flatnonzero(~np.isnan(numbers))
    values = numbers[known]
    order = np.argsort(values if "min" in setting.rule.thresholds else -values, kind="stable")
    return known[order], values[order]


def measures(table: pa.Table, setting: RuleSetting) -> np.ndarray:
    """What a scalable rule compares with its threshold: float64[N], NaN for NULL."""
    assert setting.rule.measure is not None
    numbers: np.ndarray = pc.cast(setting.rule.measure(table), pa.float64()).to_numpy(zero_copy_only=False)
    return numbers


def around_threshold(verdicts: Verdicts, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Samples that a rule alone drops and samples that all rules keep, from its threshold outwards: int64[D], int64[K]."""
    order, _ = strictest_first(verdicts.table, verdicts.settings[name])
    order = order[verdicts.kept_by_others({name})[order]]
    dropped = verdicts.failed[name][order]
    return order[dropped][::-1], order[~dropped]


def _value_at(setting: RuleSetting, source: str, values: np.ndarray, drop: float) -> float:
    """The threshold that drops the first `drop` of the ordered values[M], or fewer where several are equal."""
    if not len(values):
        return threshold_of(setting, source)
    return float(values[min(int(drop), len(values) - 1)])


def threshold_of(setting: RuleSetting, source: str) -> float:
    """The one threshold of a scalable rule for samples of `source`."""
    (value,) = setting.for_source(source).values()
    return value


def with_threshold(setting: RuleSetting, source: str, value: float) -> RuleSetting:
    """The setting with another threshold for one source, which it judges."""
    (name,) = setting.rule.thresholds
    by_source = {**setting.by_source, source: {**setting.by_source.get(source, {}), name: value}}
    return replace(setting, by_source=by_source, switches={**setting.switches, source: True})


def _fit(verdicts: Verdicts, settings: Sequence[RuleSetting], values: Sequence[float]) -> Fit:
    moved = [with_threshold(setting, verdicts.source, value) for setting, value in zip(settings, values, strict=True)]
    thresholds = {setting.rule.name: value for setting, value in zip(settings, values, strict=True)}
    return Fit(thresholds, verdicts.changed(moved))
