"""Every rule keeps its own example, drops its counter-example, and reads exactly the columns that it names."""

import numpy as np
import pyarrow as pa
import pytest

from filters import stage1, stage2
from filters.calibration import is_scalable, measures, with_threshold
from filters.rules import applicable, configure, evaluate, failures, required_columns
from tests.support.captions import labelled_captions

STAGE1_TYPES = {"caption_chars": pa.int32(), "width": pa.int32(), "height": pa.int32(), "fetch_status": pa.string()}


RULES = [*stage1.RULES, *stage2.RULES]


def table_of(rule, row):
    """A table of one row with only the columns that the rule names."""
    return pa.table({name: pa.array([row[name]], STAGE1_TYPES.get(name)) for name in rule.columns})


def source_of(rule):
    """A source that the rule judges by thresholds of its own, if there is one."""
    return next(iter(rule.by_source), "coyo")


def judge(rule, row):
    (setting,) = configure([rule], {})
    keep, reasons = evaluate(table_of(rule, row), [setting], source_of(rule))
    return keep.to_pylist(), reasons.to_pylist()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule_keeps_and_drops_its_own_examples(rule):
    assert judge(rule, rule.kept) == ([True], [[]])
    assert judge(rule, rule.dropped) == ([False], [[rule.name]])


@pytest.mark.parametrize("rule", stage2.RULES, ids=lambda rule: rule.name)
def test_no_rule_drops_what_another_rule_gives_as_kept(rule):
    for other in stage2.RULES:
        if other.columns == rule.columns:
            assert judge(rule, other.kept)[0] == [True], other.kept


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_reads_every_column_that_it_names_and_no_other(rule):
    setting = configure([rule], {})
    table = table_of(rule, rule.dropped)  # has no other column
    assert evaluate(table, setting, source_of(rule))[0].to_pylist() == [False]
    if rule.measure:
        assert len(rule.measure(table)) == 1
    for name in rule.columns:
        with pytest.raises(KeyError, match=name):
            evaluate(table.drop_columns(name), setting, "coyo")


def samples_of(rules):
    """The labelled captions, with random numbers and NULLs in the columns that captions alone do not give."""
    captions = [row.caption for row in labelled_captions()] + ["x 12 345 678", "99 999 999 99 a", "猫", "ok", "So it ends …"]
    columns = stage2.columns_of(pa.chunked_array([captions], pa.string()))
    values = {name: column for name, column in zip(columns.column_names, columns.columns, strict=True) if not column.null_count}
    chance = np.random.default_rng(0)
    for name in required_columns(configure(rules, {})):
        if name not in values:
            values[name] = pa.array(chance.integers(1, 99, len(captions)), mask=chance.random(len(captions)) < 0.1)
    return pa.table(values)


@pytest.mark.parametrize("stage", [stage1, stage2], ids=["stage1", "stage2"])
def test_a_rule_that_compares_a_number_has_one_threshold_and_a_measure_that_gives_its_verdicts(stage):
    rules = [rule for rule in stage.RULES if rule.thresholds]
    samples = samples_of(rules)
    for setting in configure(rules, {}):
        assert is_scalable(setting), setting.rule.name
        (name,) = setting.thresholds
        values = measures(samples, setting)
        known = np.unique(values[~np.isnan(values)])
        assert len(known) > 1, setting.rule.name
        for threshold in (setting.thresholds[name], *known[:2].tolist(), *np.quantile(known, [0.3, 0.9]).tolist()):
            rounded = np.float32(threshold) if setting.rule.measure(samples).type == pa.float32() else threshold
            beyond = values < rounded if name == "min" else values > rounded
            dropped = failures(samples, with_threshold(setting, "coyo", threshold), "coyo")
            assert (dropped == beyond).all(), (setting.rule.name, threshold)


def test_a_threshold_for_all_sources_stands_in_place_of_a_rules_own_for_one():
    (rule,) = [rule for rule in stage2.RULES if rule.name == "quality.low"]
    for section, of_laion, of_others in (
        ({}, rule.by_source["laion2b-en"]["min"], 0.0),
        ({"quality": {"low": {"min": 0.3}}}, 0.3, 0.3),
        ({"quality": {"low": {"by_source": {"laion2b-en": {"min": 0.2}}}}}, 0.2, 0.0),
        ({"quality": {"low": {"min": 0.3, "by_source": {"coyo": {"min": 0.4}}}}}, 0.3, 0.4),
    ):
        (setting,) = configure([rule], section)
        assert [setting.for_source(source)["min"] for source in ("laion2b-en", "coyo")] == [of_laion, of_others]


def test_required_columns_are_those_of_the_enabled_rules_in_their_order():
    chosen = [rule for rule in stage1.RULES if rule.name in ("aesthetic", "resolution.shorter_side", "resolution.aspect_ratio")]
    assert required_columns(configure(chosen, {})) == ("aesthetic", "width", "height")
    assert required_columns(configure(chosen, {"aesthetic": {"enabled": False}})) == ("width", "height")
    assert required_columns([]) == ()
    names = [setting.rule.name for setting in applicable(configure(chosen, {}), ["height", "width", "caption"])]
    assert names == ["resolution.shorter_side", "resolution.aspect_ratio"]


def test_names_are_unique_and_captions_alone_have_the_columns_of_every_caption_rule():
    assert len({rule.name for rule in RULES}) == len(RULES)
    columns = stage2.columns_of(pa.chunked_array([["A red fox"]])).column_names
    assert {*required_columns(configure(stage2.RULES, {}))} == {*columns} - {stage2.QUALITY_PARTS}


def test_the_reason_of_a_picture_that_was_not_downloaded_is_a_rule_of_stage_1():
    assert [rule.columns for rule in stage1.RULES if rule.name == stage1.DOWNLOAD] == [("fetch_status",)]
