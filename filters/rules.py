"""What a rule is, how a recipe sets it, and how a set of rules gives each sample `keep` and `reasons`.

A rule reads columns of an Arrow table of N rows and gives a boolean array of N: true = drop, NULL = an input is missing. All
enabled rules are evaluated, so `reasons` names every rule that a sample failed, not the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.text.patterns import match_any, match_within, prepare, spelled_out
from infra.compat.content import content_digest, package_of
from infra.compat.errors import nearest

Thresholds = Mapping[str, float]
Measure = Callable[[pa.Table], pa.Array]
BY_SOURCE = "by_source."


@dataclass(frozen=True)
class Rule:
    """A named test on columns.

    name        concern first, as in `boilerplate.menu`
    columns     what it reads
    drops       (table[N], thresholds) -> boolean[N]; true = drop, NULL = an input is missing
    catches     one line for people
    origin      where the idea or the number comes from; "a choice" when it is ours
    kept        an example row that passes
    dropped     an example row that fails
    thresholds  numbers a recipe may set
    by_source   source -> thresholds of its own, unless the recipe sets the threshold for all
    missing     what a NULL verdict means unless the recipe says otherwise: "keep" or "drop"
    measure     of a rule with one threshold, `min` or `max`: table[N] -> the number[N] that is compared with it, NULL where
                nothing is compared; calibration sorts by it
    """

    name: str
    columns: tuple[str, ...]
    drops: Callable[[pa.Table, Thresholds], pa.Array]
    catches: str
    origin: str
    kept: Mapping[str, Any]
    dropped: Mapping[str, Any]
    thresholds: Thresholds = field(default_factory=dict)
    by_source: Mapping[str, Thresholds] = field(default_factory=dict)
    missing: str = "keep"
    measure: Measure | None = None

    def __post_init__(self) -> None:
        if isinstance(self.columns, str):
            raise TypeError(f"rule {self.name!r} has columns={self.columns!r}; write a tuple, ({self.columns!r},)")


@dataclass(frozen=True)
class RuleSetting:
    """A rule as a recipe sets it.

    by_source  thresholds that differ for one source
    enabled    whether it judges the samples of sources that `switches` does not name
    switches   source -> whether it judges the samples of that source
    model      whose scores the thresholds are for, by name or sha256; "" for any
    """

    rule: Rule
    thresholds: Thresholds
    by_source: Mapping[str, Thresholds]
    missing: str
    enabled: bool
    switches: Mapping[str, bool] = field(default_factory=dict)
    model: str = ""

    def for_source(self, source: str) -> Thresholds:
        """The thresholds for samples of `source`."""
        return {**self.thresholds, **self.by_source.get(source, {})}

    def is_enabled(self, source: str) -> bool:
        """Whether the rule judges samples of `source`."""
        return self.switches.get(source, self.enabled)

    @property
    def is_used(self) -> bool:
        """Whether the rule judges samples of any source."""
        return self.enabled or any(self.switches.values())

    def describe(self) -> dict[str, Any]:
        """All that its verdicts depend on, as plain JSON values: part of a step's fingerprint.

        `content` changes with the rule's functions, patterns, word lists and data files, and with `evaluate`.
        """
        if not self.is_used:
            return {"enabled": False}
        rule = self.rule
        packages = {"filters", package_of(rule.drops), package_of(rule.measure)}
        return {
            "content": content_digest(rule.columns, rule.drops, rule.measure, evaluate, packages=packages),
            "thresholds": dict(self.thresholds),
            "by_source": {name: dict(values) for name, values in self.by_source.items()},
            "missing": self.missing,
            "enabled": self.enabled,
            "switches": dict(self.switches),
        }


def configure(rules: Sequence[Rule], section: Mapping[str, Any]) -> list[RuleSetting]:
    """The rules as a recipe's section sets them; ValueError names a rule or setting that does not exist, or a name used twice.

    The section maps a rule's name (dots may nest) to `enabled`, `missing`, its thresholds and the `model` that these are for; the
    rule's `by_source.<source>` holds `enabled` and thresholds of one source. The section's own `by_source.<source>.enabled =
    false` switches all rules off for a source, but those whose own `by_source` says otherwise.
    """
    names = Counter(rule.name for rule in rules)
    for name, count in names.items():
        if count > 1:
            raise ValueError(f"{count} rules are named {name!r}; rename all but one")
    flat = _flatten(section)
    off = _switched_off({key: flat.pop(key) for key in list(flat) if key.startswith(BY_SOURCE)})
    values = _by_rule(flat, names)
    return [_configure_one(rule, values.get(rule.name, {}), off) for rule in rules]


def _switched_off(values: Mapping[str, Any]) -> dict[str, bool]:
    """Source → False for the sources that no rule judges, of a section's own settings `by_source.<source>.enabled`."""
    switches = {}
    for key, value in values.items():
        source, _, name = key.removeprefix(BY_SOURCE).rpartition(".")
        if not source or name != "enabled" or not isinstance(value, bool):
            raise ValueError(f"{key} = {value!r} is no setting of all rules; write by_source.SOURCE.enabled = true or false")
        if not value:
            switches[source] = False
    return switches


def _flatten(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _by_rule(flat: Mapping[str, Any], names: Collection[str]) -> dict[str, dict[str, Any]]:
    by_rule: dict[str, dict[str, Any]] = {}
    for key, value in flat.items():
        name = max((name for name in names if key.startswith(name + ".")), key=len, default=None)
        if name is None:
            raise ValueError(f"no rule is set by {key!r}; {nearest(key.rpartition('.')[0] or key, names)}")
        by_rule.setdefault(name, {})[key.removeprefix(name + ".")] = value
    return by_rule


def _configure_one(rule: Rule, values: Mapping[str, Any], off: Mapping[str, bool]) -> RuleSetting:
    thresholds, by_source = dict(rule.thresholds), dict[str, dict[str, float]]()
    missing, enabled, switches, model = rule.missing, True, dict(off), ""
    for source, defaults in rule.by_source.items():
        by_source[source] = {name: value for name, value in defaults.items() if name not in values}
    for key, value in values.items():
        source, _, name = key.removeprefix(BY_SOURCE).rpartition(".") if key.startswith(BY_SOURCE) else ("", "", "")
        if key == "enabled" and isinstance(value, bool):
            enabled = value
        elif key == "missing" and value in ("keep", "drop"):
            missing = value
        elif key == "model" and isinstance(value, str) and rule.thresholds:
            model = value
        elif key in thresholds:
            thresholds[key] = _number(rule, key, value)
        elif source and name in rule.thresholds:
            by_source.setdefault(source, {})[name] = _number(rule, key, value)
        elif source and name == "enabled" and isinstance(value, bool):
            switches[source] = value
        else:
            settings = [
                *rule.thresholds,
                *(["model"] if rule.thresholds else []),
                "missing (keep or drop)",
                "enabled (true or false)",
            ]
            raise ValueError(f"{rule.name}.{key} = {value!r} is no setting of that rule; it has {', '.join(settings)}")
    return RuleSetting(rule, thresholds, by_source, missing, enabled, switches, model)


def _number(rule: Rule, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{rule.name}.{key} = {value!r} must be a number")
    return float(value)


def required_columns(settings: Sequence[RuleSetting]) -> tuple[str, ...]:
    """The columns that the enabled rules read, each once, in the order of the rules."""
    return tuple(dict.fromkeys(name for setting in settings if setting.is_used for name in setting.rule.columns))


def applicable(settings: Sequence[RuleSetting], columns: Collection[str]) -> list[RuleSetting]:
    """The settings of the rules that read nothing but these columns."""
    return [setting for setting in settings if set(columns).issuperset(setting.rule.columns)]


def evaluate(table: pa.Table, settings: Sequence[RuleSetting], source: str) -> tuple[pa.Array, pa.Array]:
    """`keep` bool[N] and `reasons` list<string>[N] of the rules over table[N], for samples of `source`."""
    active = [setting for setting in settings if setting.is_enabled(source)]
    failed = np.zeros((len(active), len(table)), dtype=bool)
    for row, setting in enumerate(active):
        failed[row] = failures(table, setting, source)
    return pa.array(~failed.any(axis=0)), _reasons(failed, [setting.rule.name for setting in active])


def failures(table: pa.Table, setting: RuleSetting, source: str) -> np.ndarray:
    """Whether a rule, switched on or not, drops each sample of table[N], for samples of `source`: bool[N]."""
    verdict = setting.rule.drops(table, setting.for_source(source))
    failed: np.ndarray = pc.fill_null(verdict, setting.missing == "drop").to_numpy(zero_copy_only=False)
    return failed


def _reasons(failed: np.ndarray, names: Sequence[str]) -> pa.Array:
    """list<string>[N] of failed[rules, N]."""
    count = failed.sum(axis=0, dtype=np.int32)
    offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(count, dtype=np.int32)])
    dropped = np.flatnonzero(count)
    rules = np.nonzero(failed[:, dropped].T)[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(list(names), pa.string()).take(pa.array(rules)))


def column(name: str) -> Measure:
    """The measure that is the values of a column."""
    return lambda table: table[name]


def below(measure: Measure) -> Callable[[pa.Table, Thresholds], pa.Array]:
    """A test that drops what is below the threshold `min`; NULL gives NULL."""
    return lambda table, thresholds: pc.less(*_comparable(measure(table), thresholds["min"]))


def above(measure: Measure) -> Callable[[pa.Table, Thresholds], pa.Array]:
    """A test that drops what is above the threshold `max`; NULL gives NULL."""
    return lambda table, thresholds: pc.greater(*_comparable(measure(table), thresholds["max"]))


def _comparable(values: pa.Array, threshold: float) -> tuple[pa.Array, pa.Scalar]:
    # 0.26 stored as float32 is less than 0.26: the threshold is rounded as the scores were, so that a score equal to it is kept.
    return values, pa.scalar(threshold, values.type if pa.types.is_floating(values.type) else None)


def matches(
    *patterns: str, unless: Sequence[str] = (), where: str = "", ignore_case: bool = False
) -> Callable[[pa.Table, Thresholds], pa.Array]:
    r"""A test that drops captions which match one of the RE2 patterns, anywhere in the text, and none of `unless`.

    `where`, if given, is a pattern that is faster to search: only captions that match it are searched for the others. \w and \W
    stand for word characters of every script, unlike RE2's own.
    """
    searched = (spelled_out if where else prepare)(patterns, ignore_case=ignore_case)
    prefilter, exceptions = prepare([where] if where else ()), prepare(unless)

    def test(table: pa.Table, thresholds: Thresholds) -> pa.Array:
        captions = table["caption"]
        if prefilter:
            matching = match_within(captions, searched, match_any(captions, prefilter))
        else:
            matching = match_any(captions, searched)
        if exceptions and matching.any():
            matching &= ~match_any(captions, exceptions)
        return pa.array(matching)

    return test
