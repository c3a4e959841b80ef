"""A rule set gives every sample the verdict and the reasons that its rules give one by one."""

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import stage1
from filters.rules import above, below, column, configure, evaluate, required_columns

scores = st.one_of(st.none(), st.floats(0, 10, width=32))
rows = st.fixed_dictionaries(
    {
        "clip_similarity": st.one_of(st.none(), st.floats(-1, 1, width=32)),
        "watermark": scores,
        "unsafe": scores,
        "aesthetic": scores,
        "width": st.one_of(st.none(), st.integers(1, 5000)),
        "height": st.one_of(st.none(), st.integers(1, 5000)),
        "caption_chars": st.integers(0, 3000),
        "fetch_status": st.sampled_from([None, "ok", "failed", "refused"]),
    }
)
TYPES = pa.schema(
    [(name, pa.float32()) for name in ("clip_similarity", "watermark", "unsafe", "aesthetic")]
    + [("width", pa.int32()), ("height", pa.int32()), ("caption_chars", pa.int32()), ("fetch_status", pa.string())]
)


@settings(deadline=None)
@given(st.lists(rows, max_size=30), st.sampled_from(["keep", "drop"]))
def test_reasons_name_exactly_the_rules_that_fail_alone(samples: list[dict], missing: str) -> None:
    table = pa.Table.from_pylist(samples, schema=TYPES)
    section = {"clip_similarity": {"missing": missing}, "watermark": {"missing": missing}}
    rules = configure(stage1.RULES, section)
    keep, reasons = evaluate(table, rules, "coyo")
    assert len(keep) == len(reasons) == len(samples)
    alone = [evaluate(table, [setting], "coyo")[0].to_pylist() for setting in rules]
    for row, names in enumerate(reasons.to_pylist()):
        assert names == [s.rule.name for s, kept in zip(rules, alone, strict=True) if not kept[row]]
        assert keep[row].as_py() == (not names)


def test_a_missing_score_keeps_or_drops_as_the_recipe_says() -> None:
    table = pa.table({"clip_similarity": pa.array([None, 0.1, 0.9], pa.float32())})
    rule = [r for r in stage1.RULES if r.name == "clip_similarity"]
    assert evaluate(table, configure(rule, {}), "coyo")[0].to_pylist() == [True, False, True]
    assert evaluate(table, configure(rule, {"clip_similarity": {"missing": "drop"}}), "coyo")[0].to_pylist() == [
        False,
        False,
        True,
    ]


def test_a_threshold_by_source_holds_for_that_source_only() -> None:
    rule = [r for r in stage1.RULES if r.name == "clip_similarity"]
    rules = configure(rule, {"clip_similarity": {"min": 0.5, "by_source": {"laion2b-multi": {"min": 0.2}}}})
    table = pa.table({"clip_similarity": pa.array([0.3], pa.float32())})
    assert evaluate(table, rules, "laion2b-multi")[0].to_pylist() == [True]
    assert evaluate(table, rules, "laion2b-en")[0].to_pylist() == [False]


RULES = [rule for rule in stage1.RULES if rule.name in ("clip_similarity", "watermark")]
switch = st.sampled_from([None, True, False])


@settings(deadline=None)
@given(switch, switch, switch)
def test_what_says_more_of_a_source_decides_whether_a_rule_judges_it(
    everywhere: bool | None, of_rule: bool | None, of_section: bool | None
) -> None:
    section: dict = {"clip_similarity": {"by_source": {"coyo": {}}}, "by_source": {"coyo": {}}}
    for place, value in (
        (section["clip_similarity"], everywhere),
        (section["clip_similarity"]["by_source"]["coyo"], of_rule),
        (section["by_source"]["coyo"], of_section),
    ):
        place |= {} if value is None else {"enabled": value}
    rules = configure(RULES, section)
    low = pa.table({"clip_similarity": pa.array([0.1], pa.float32()), "watermark": pa.array([0.99], pa.float32())})
    reasons = {source: set(evaluate(low, rules, source)[1][0].as_py()) for source in ("coyo", "laion2b-en")}
    elsewhere = everywhere is not False
    here = of_rule if of_rule is not None else (elsewhere and of_section is not False)
    assert ("clip_similarity" in reasons["coyo"]) == here and ("clip_similarity" in reasons["laion2b-en"]) == elsewhere
    assert ("watermark" in reasons["coyo"]) == (of_section is not False) and "watermark" in reasons["laion2b-en"]
    assert ("clip_similarity" in required_columns(rules)) == (here or elsewhere)


def test_a_switch_of_one_source_changes_what_verdicts_depend_on() -> None:
    sections = ({}, {"by_source": {"coyo": {"enabled": False}}}, {"watermark": {"by_source": {"coyo": {"enabled": False}}}})
    described = [[setting.describe() for setting in configure(RULES, section)] for section in sections]
    assert described[0] != described[1] and described[0][0] == described[2][0] and described[1][1] == described[2][1]


@pytest.mark.parametrize(
    "section, message",
    [
        ({"clip_similarty": {"min": 0.3}}, "did you mean 'clip_similarity'"),
        ({"clip_similarity": {"minimum": 0.3}}, "is no setting of that rule"),
        ({"clip_similarity": {"min": "high"}}, "must be a number"),
        ({"watermark": {"missing": "perhaps"}}, "is no setting of that rule"),
        ({"colour": {"min": 1}}, "known are: aesthetic, caption_length.long"),
        ({"clip_similarity": {"by_source": {"coyo": {"enabled": 0}}}}, "is no setting of that rule"),
        ({"clip_similarity": {"by_source": {"coyo": {"missing": "drop"}}}}, "is no setting of that rule"),
        (
            {"by_source": {"coyo": {"min": 0.3}}},
            r"by_source\.coyo\.min = 0\.3 is no setting of all rules; write by_source\.SOURCE",
        ),
        ({"by_source": {"coyo": {"enabled": "no"}}}, r"by_source\.coyo\.enabled = 'no' is no setting of all rules"),
        ({"by_source": {"enabled": False}}, "is no setting of all rules"),
    ],
)
def test_a_wrong_setting_is_named(section: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configure(stage1.RULES, section)


@settings(deadline=None)
@given(st.floats(0.01, 1.0), st.sampled_from([pa.float32(), pa.float64()]))
def test_a_score_equal_to_the_threshold_stays(threshold: float, kind: pa.DataType) -> None:
    table = pa.table({"x": pa.array([threshold], kind)})
    for test, name in ((below, "min"), (above, "max")):
        assert test(column("x"))(table, {name: threshold}).to_pylist() == [False]


def test_a_name_used_twice_is_refused_and_a_longer_name_is_another_rule() -> None:
    rule = stage1.RULES[0]
    with pytest.raises(ValueError, match="2 rules are named 'clip_similarity'; rename all but one"):
        configure([rule, rule], {})
    longer = replace(rule, name="clip_similarity.strict")
    both = configure([rule, longer], {"clip_similarity": {"min": 0.1, "strict": {"min": 0.4}}})
    assert [setting.thresholds["min"] for setting in both] == [0.1, 0.4]
