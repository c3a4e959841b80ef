"""Histograms of what rules measure: one for each measure of an enabled rule, whatever rules there are.

The manifest is read in batches twice. A sample of its rows gives each histogram a range with round ends that holds nearly all
values, then all rows are counted; what lies beyond the range is in the end bins. Rules with the same measure share a histogram.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import RuleSetting
from infra.compat.content import content_digest, package_of
from pipelines.reporting.query import rows_of

MAX_BINS = 40
BATCH_ROWS, SAMPLED_ROWS = 100_000, 1_000_000
COVERED = (0.01, 0.99)  # quantiles that lie within the range
ROUND_STEPS = (1.0, 2.0, 2.5, 5.0)  # times a power of ten
TICK_STEPS = 4  # between the ends of an axis


@dataclass(frozen=True)
class Axis:
    """The range low … high of a histogram, cut into equal bins; both ends and the ticks between them are round numbers."""

    low: float
    high: float
    bins: int

    def count(self, values: np.ndarray) -> np.ndarray:
        """float64[N] → int64[bins]; NaN is not counted."""
        places = np.floor((values[~np.isnan(values)] - self.low) / (self.high - self.low) * self.bins)
        return np.bincount(places.clip(0, self.bins - 1).astype(np.int64), minlength=self.bins)


def rule_histograms(connection: duckdb.DuckDBPyConnection, table: str, rules: Sequence[RuleSetting]) -> list[dict[str, Any]]:
    """For each measure of the enabled rules: title, rules, range, bins, thresholds and how many samples have no value.

    `table` is the name of a table with the columns of `manifest` that the rules read.
    """
    groups = _by_measure(rules)
    (total,) = rows_of(connection, f"select count(*) as samples from {table}")
    one_in = max(1, total["samples"] // SAMPLED_ROWS)
    sampled = [[_values(group, batch) for group in groups] for batch in _batches(connection, table, groups, one_in)]
    axes = [readable_axis(_joined([values[place] for values in sampled])) for place in range(len(groups))]
    counts, unknown = [np.zeros(axis.bins, np.int64) for axis in axes], [0] * len(groups)
    for batch in _batches(connection, table, groups, 1):
        for place, group in enumerate(groups):
            values = _float64(_values(group, batch))
            counts[place] += axes[place].count(values)
            unknown[place] += int(np.isnan(values).sum())
    return [_described(*row) for row in zip(groups, axes, counts, unknown, strict=True)]


def readable_axis(values: pa.ChunkedArray) -> Axis:
    """An axis whose ends and ticks are round numbers and which covers all but the tails of the values; 0 … 1 for none."""
    numbers = _float64(values)
    numbers = numbers[np.isfinite(numbers)]
    whole = pa.types.is_integer(values.type)
    low, high = _quantiles(numbers) if len(numbers) else (0.0, 1.0)
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0) or 1.0
    step = next(step for step in _round_steps((high - low) / TICK_STEPS, whole) if _from(low, step) + TICK_STEPS * step >= high)
    start = _from(low, step)
    width = TICK_STEPS * step
    bins = next(n for n in range(MAX_BINS, 0, -1) if width % n == 0) if whole else MAX_BINS
    return Axis(start, _rounded(start + width), bins)


def _quantiles(numbers: np.ndarray) -> tuple[float, float]:
    return float(np.quantile(numbers, COVERED[0], method="lower")), float(np.quantile(numbers, COVERED[1], method="higher"))


def _round_steps(least: float, whole: bool) -> Iterator[float]:
    """Round numbers from `least` on, in order; whole ones alone on request."""
    exponent = math.floor(math.log10(least))
    while True:
        for step in ROUND_STEPS:
            value = float(f"{step}e{exponent}")
            if value >= least and not (whole and value % 1):
                yield value
        exponent += 1


def _from(low: float, step: float) -> float:
    """The last multiple of a step that is not above `low`."""
    return _rounded(math.floor(low / step) * step)


def _rounded(number: float) -> float:
    """Without the last binary places, which would show in the ticks: 0.30000000000000004."""
    return float(f"{number:.12g}")


def _by_measure(rules: Sequence[RuleSetting]) -> list[list[RuleSetting]]:
    groups: dict[str, list[RuleSetting]] = {}
    for setting in rules:
        rule = setting.rule
        if setting.is_used and rule.measure is not None:
            measure = content_digest(rule.columns, rule.measure, packages={"filters", package_of(rule.measure)})
            groups.setdefault(measure, []).append(setting)
    return list(groups.values())


def _batches(
    connection: duckdb.DuckDBPyConnection, table: str, groups: Sequence[Sequence[RuleSetting]], one_in: int
) -> Iterator[pa.Table]:
    """The columns that the rules read, of one row in so many, drawn by a hash of the id."""
    columns = dict.fromkeys(f'"{column}"' for group in groups for column in group[0].rule.columns)
    if not columns:
        return
    query = f"select {', '.join(columns)} from {table} where hash(sample_id) % {one_in} = 0"
    for batch in connection.sql(query).to_arrow_reader(BATCH_ROWS):
        yield pa.Table.from_batches([batch])


def _values(group: Sequence[RuleSetting], table: pa.Table) -> pa.ChunkedArray:
    rule = group[0].rule
    assert rule.measure is not None
    values = rule.measure(table.select(rule.columns))
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])


def _joined(arrays: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    chunks = [chunk for array in arrays for chunk in array.chunks]
    return pa.chunked_array(chunks, arrays[0].type if arrays else pa.float64())


def _float64(values: pa.ChunkedArray) -> np.ndarray:
    """float64[N], NaN for NULL."""
    numbers: np.ndarray = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
    return numbers


def _described(group: Sequence[RuleSetting], axis: Axis, counts: np.ndarray, unknown: int) -> dict[str, Any]:
    return {
        "title": _title([setting.rule.name for setting in group]),
        "rules": [{"name": setting.rule.name, "catches": setting.rule.catches} for setting in group],
        "low": axis.low,
        "high": axis.high,
        "bins": counts.tolist(),
        "unknown": unknown,
        "thresholds": [
            {"rule": setting.rule.name, "source": source, "name": name, "value": value}
            for setting in group
            for source, thresholds in ((None, setting.thresholds), *setting.by_source.items())
            for name, value in thresholds.items()
        ],
    }


def _title(names: Sequence[str]) -> str:
    """`resolution.shorter_side` → Resolution: shorter side; of several rules what their names begin with in common."""
    concerns = {name.partition(".")[0] for name in names}
    title = names[0] if len(names) == 1 else concerns.pop() if len(concerns) == 1 else " and ".join(names)
    title = title.replace("_", " ").replace(".", ": ")
    return title[:1].upper() + title[1:]
