"""Every rule keeps its own example and drops its own counter-example."""

import pyarrow as pa
import pytest

from filters import stage1, stage2
from filters.rules import configure, evaluate

STAGE1_TYPES = {"caption_chars": pa.int32(), "width": pa.int32(), "height": pa.int32(), "fetch_status": pa.string()}


def judge(rule, row):
    columns = {name: pa.array([row[name]], STAGE1_TYPES.get(name)) for name in rule.columns}
    (setting,) = configure([rule], {})
    keep, reasons = evaluate(pa.table(columns), [setting], "coyo")
    return keep.to_pylist(), reasons.to_pylist()


@pytest.mark.parametrize("rule", stage1.RULES + stage2.RULES, ids=lambda rule: rule.name)
def test_rule_keeps_and_drops_its_own_examples(rule):
    assert judge(rule, rule.kept) == ([True], [[]])
    assert judge(rule, rule.dropped) == ([False], [[rule.name]])


@pytest.mark.parametrize("rule", stage2.RULES, ids=lambda rule: rule.name)
def test_no_rule_drops_what_another_rule_gives_as_kept(rule):
    for other in stage2.RULES:
        if other.columns == rule.columns:
            assert judge(rule, other.kept)[0] == [True], other.kept
