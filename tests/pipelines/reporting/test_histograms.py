"""Every enabled stage-1 rule that measures something is shown, on a readable axis, with all samples counted."""

from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import stage1
from filters.rules import Rule, above, below, configure
from pipelines.reporting import histograms
from pipelines.reporting.histograms import MAX_BINS, TICK_STEPS, readable_axis, rule_histograms

finite = st.floats(-1e9, 1e9, allow_subnormal=False).map(lambda value: round(value, 6))
numbers = st.one_of(st.lists(st.one_of(st.none(), finite)), st.lists(st.one_of(st.none(), st.integers(-(10**9), 10**9))))


@settings(deadline=None, max_examples=300)
@given(numbers)
def test_an_axis_has_round_ends_and_covers_all_but_the_tails(values: list) -> None:
    array = pa.chunked_array([pa.array(values, pa.int64() if any(isinstance(value, int) for value in values) else pa.float64())])
    axis = readable_axis(array)
    step = (axis.high - axis.low) / TICK_STEPS
    assert axis.low < axis.high and 1 <= axis.bins <= MAX_BINS
    assert abs(axis.low / step - round(axis.low / step)) < 1e-6  # so that zero would be a tick
    assert min(abs(step / 10 ** np.floor(np.log10(step) + 1e-9) - digit) for digit in (1, 2, 2.5, 5)) < 1e-6
    known = np.array([value for value in values if value is not None], float)
    beyond = (known < axis.low - 1e-6 * step) | (known > axis.high + 1e-6 * step)
    assert beyond.sum() <= max(0.02 * len(known), 0)
    assert axis.count(known).sum() == len(known)


def contrast(table: pa.Table) -> pa.Array:
    return pc.subtract(table["unsafe"], table["watermark"])


RULE = Rule(
    name="contrast",
    columns=("unsafe", "watermark"),
    drops=below(contrast),
    measure=contrast,
    catches="images of little contrast",
    origin="a test",
    kept={"unsafe": 0.9, "watermark": 0.1},
    dropped={"unsafe": 0.1, "watermark": 0.9},
    thresholds={"min": -0.5},
)


def samples(count: int) -> duckdb.DuckDBPyConnection:
    rng = np.random.default_rng(0)
    columns: dict[str, object] = {"sample_id": pa.array(range(count), pa.uint64()), "fetch_status": ["ok"] * count}
    for name in ("clip_similarity", "watermark", "unsafe", "aesthetic"):
        columns[name] = pa.array(rng.random(count, np.float32), mask=rng.random(count) < 0.3)
    for name in ("width", "height", "caption_chars"):
        columns[name] = pa.array(rng.integers(0, 500, count).astype(np.int32))
    connection = duckdb.connect()
    connection.register("samples", pa.table(columns))
    return connection


def test_a_new_rule_is_shown_without_a_change_of_the_report() -> None:
    section = {"contrast": {"min": -0.25, "by_source": {"coyo": {"min": 0.1}}}, "watermark": {"enabled": False}}
    shown = rule_histograms(samples(1000), "samples", configure([*stage1.RULES, RULE], section))
    assert [histogram["title"] for histogram in shown] == [
        *("Clip similarity", "Unsafe", "Aesthetic", "Resolution: shorter side", "Resolution: aspect ratio", "Caption length"),
        "Contrast",
    ]
    assert all(sum(histogram["bins"]) + histogram["unknown"] == 1000 for histogram in shown)
    assert shown[-1]["thresholds"] == [
        {"rule": "contrast", "source": None, "name": "min", "value": -0.25},
        {"rule": "contrast", "source": "coyo", "name": "min", "value": 0.1},
    ]
    assert (shown[-1]["low"], shown[-1]["high"]) == (-1.0, 1.0)


def test_rules_of_one_measure_share_a_histogram() -> None:
    opposite = replace(RULE, name="contrast_high", drops=above(contrast), thresholds={"max": 0.75})
    (shown,) = rule_histograms(samples(100), "samples", configure([RULE, opposite], {}))
    assert shown["title"] == "Contrast and contrast high"
    assert [threshold["value"] for threshold in shown["thresholds"]] == [-0.5, 0.75]


def test_a_range_found_from_a_sample_of_the_rows_counts_all_of_them(monkeypatch) -> None:
    connection, rules = samples(5000), configure(stage1.RULES, {})
    whole = rule_histograms(connection, "samples", rules)
    monkeypatch.setattr(histograms, "SAMPLED_ROWS", 500)
    monkeypatch.setattr(histograms, "BATCH_ROWS", 999)
    sampled = rule_histograms(connection, "samples", rules)
    assert sampled == rule_histograms(connection, "samples", rules)
    for one, other in zip(whole, sampled, strict=True):
        assert sum(one["bins"]) == sum(other["bins"]) and one["unknown"] == other["unknown"]


def test_an_empty_manifest_has_empty_histograms() -> None:
    for histogram in rule_histograms(samples(0), "samples", configure(stage1.RULES, {})):
        assert sum(histogram["bins"]) == histogram["unknown"] == 0
    assert rule_histograms(samples(10), "samples", []) == []
