"""Thresholds are fitted to a share by counting; shares are those of a whole evaluation with them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import stage1
from filters.calibration import (
    Verdicts,
    around_threshold,
    fit_one,
    is_scalable,
    judge,
    measures,
    scale_together,
    threshold_of,
)
from filters.rules import configure, evaluate
from tests.support.scored import scored_samples

RULES = configure(stage1.RULES, {})
SCALABLE = [setting for setting in RULES if is_scalable(setting)]


def kept_share(table: pa.Table, verdicts: Verdicts) -> float:
    keep, _ = evaluate(table, list(verdicts.settings.values()), verdicts.source)
    return pc.sum(keep).as_py() / verdicts.total


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.3, 0.9))
def test_scaling_hits_the_target_and_keeps_the_proportions(seed: int, target: float) -> None:
    table = scored_samples(3000, seed)
    total = 3100  # a hundred rows were rejected
    now = judge(table, RULES, "coyo", total)
    fit = scale_together(now, target)
    assert fit.verdicts.kept == pytest.approx(target, abs=0.02)  # captions of a length go together
    assert fit.verdicts.kept == pytest.approx(kept_share(table, fit.verdicts), abs=1e-12)
    ratios = []
    for setting in SCALABLE:
        name = setting.rule.name
        assert threshold_of(fit.verdicts.settings[name], "coyo") == fit.thresholds.get(name, threshold_of(setting, "coyo"))
        # Of whole numbers (pixels, characters) only whole shares can be cut.
        if now.loss(name) > 0.02 and pa.types.is_floating(setting.rule.measure(table).type):
            ratios.append(fit.verdicts.loss(name) / now.loss(name))
    assert len(ratios) >= 2 and max(ratios) - min(ratios) < 0.25 * max(ratios) + 0.02


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from(SCALABLE))
def test_one_rule_hits_the_target_or_says_why_not(seed: int, setting) -> None:
    now = judge(scored_samples(3000, seed), RULES, "coyo", 3000)
    target = now.kept - 0.05
    assert fit_one(now, setting, target).verdicts.kept == pytest.approx(target, abs=0.02)
    with pytest.raises(ValueError, match=r"at most .* can stay"):
        fit_one(now, setting, 0.99)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from(SCALABLE))
def test_a_rule_that_is_off_for_a_source_is_fitted_and_judges_it_then(seed: int, setting) -> None:
    table = scored_samples(1000, seed)
    (off,) = configure([setting.rule], {setting.rule.name: {"by_source": {"coyo": {"enabled": False}}}})
    others = [other for other in RULES if other is not setting]
    now = judge(table, [*others, off], "coyo", 1000)
    assert now.kept == judge(table, others, "coyo", 1000).kept and now.loss(setting.rule.name) == 0
    fit = fit_one(now, off, now.kept - 0.1)
    assert fit.verdicts.settings[setting.rule.name].is_enabled("coyo")
    assert fit.verdicts.kept == pytest.approx(now.kept - 0.1, abs=0.02)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from(SCALABLE))
def test_around_a_threshold_lie_the_nearest_samples_of_those_that_the_other_rules_keep(seed: int, setting) -> None:
    now = judge(scored_samples(500, seed), RULES, "coyo", 500)
    name, values = setting.rule.name, measures(now.table, setting)
    dropped, kept = around_threshold(now, name)
    assert not now.failed[name][kept].any() and now.failed[name][dropped].all()
    alone = now.failed[name] & now.kept_by_others({name})
    assert set(dropped) == set(np.flatnonzero(alone)) and not now.failed[name][kept].any()
    for rows in (dropped, kept):
        distance = np.abs(values[rows] - threshold_of(setting, "coyo"))
        assert (np.diff(distance) >= 0).all()


def test_nothing_to_scale_is_an_error() -> None:
    loose = configure(stage1.RULES, {setting.rule.name: {"enabled": False} for setting in SCALABLE})
    with pytest.raises(ValueError, match="nothing to scale"):
        scale_together(judge(scored_samples(100, 0), loose, "coyo", 100), 0.5)
