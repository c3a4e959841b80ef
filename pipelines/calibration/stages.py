"""What the calibration of the two stages differs in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from filters.reference import Retention
from filters.rules import RuleSetting
from pipelines.manifest.selection import AFTER_STAGE1, JUDGED_BY_STAGE2, sql_of
from pipelines.recipe import Recipe

TOGETHER = "together"
ROWS_READ = """
    select source, count(*), 0 from (select source from samples union all select source from rejects) group by 1 order by 1
"""
LEFT_BY_STAGE1 = f"""
    select source, count(*) filter (is_left), count(*) filter (is_left and not is_judged)
    from (select source, {sql_of(AFTER_STAGE1)} as is_left, stage1_keep is not null as is_judged from manifest)
    group by 1 order by 1
"""


@dataclass(frozen=True)
class Stage:
    """One of the two filters.

    name      its section of the recipe
    rules     its rules as a recipe sets them
    policy    what is fitted unless --policy says otherwise
    paper     the share that InternVL's Table 2 keeps of a source; None where the stage leaves it whole
    unit      what shares are of
    counts    SQL: each source, how many that is, and how many of these the stage before has not judged
    judged    SQL: whether the stage judges a row of `manifest`; all others are lost to what comes before it
    most      samples read of one source
    """

    name: str
    rules: Callable[[Recipe], list[RuleSetting]]
    policy: str
    paper: Callable[[Retention], float | None]
    unit: str
    counts: str
    judged: str
    most: int

    @property
    def judges_captions(self) -> bool:
        """Whether its rules read captions, repaired first."""
        return self.name == "stage2"


STAGES = {
    1: Stage("stage1", Recipe.stage1_rules, TOGETHER, lambda row: row.stage1, "rows", ROWS_READ, "true", 5_000_000),
    2: Stage(
        "stage2",
        Recipe.stage2_rules,
        "quality.low",
        lambda row: row.stage2_of_stage1,
        "samples kept by stage 1",
        LEFT_BY_STAGE1,
        sql_of(JUDGED_BY_STAGE2),
        500_000,
    ),
}
