"""Judgement: Arrow or NumPy in, columns out. No Ray, no files, no network.

    >>> import pyarrow as pa
    >>> from filters import Rule, above, column, configure, evaluate, stage1
    >>> table = pa.table({"clip_similarity": [0.31, 0.11, None], "likes": [3, 5, 900]})
    >>> popular = Rule(name="likes", columns=("likes",), drops=above(column("likes")), measure=column("likes"),
    ...     catches="posts that everybody knows", origin="a choice",
    ...     kept={"likes": 10}, dropped={"likes": 5000}, thresholds={"max": 100})
    >>> similarity = [rule for rule in stage1.RULES if rule.name == "clip_similarity"]
    >>> settings = configure([*similarity, popular], {"clip_similarity": {"missing": "drop"}})
    >>> keep, reasons = evaluate(table, settings, source="my-corpus")
    >>> keep.to_pylist(), reasons.to_pylist()
    ([True, False, False], [[], ['clip_similarity'], ['clip_similarity', 'likes']])

rules.py        what a rule is, how a recipe sets it, how a set of rules is evaluated
stage1.py       the six factors of the first filter
stage2.py       the caption rules of the second filter, one concern a file under captions/
calibration.py  thresholds that keep a given share of samples
reference.py    what the paper's two filters keep, its Table 2
captions/       the caption rules
quality/        how much a caption says of its picture
text/           what caption rules share: repair, characters, words, language, pattern search
scores/         pixels and text to a score
duplicates/     perceptual hashes and the search for near ones
"""

from filters import stage1, stage2
from filters.rules import (
    Rule,
    RuleSetting,
    above,
    applicable,
    below,
    column,
    configure,
    evaluate,
    matches,
    required_columns,
)

__all__ = [
    "Rule",
    "RuleSetting",
    "above",
    "applicable",
    "below",
    "column",
    "configure",
    "evaluate",
    "matches",
    "required_columns",
    "stage1",
    "stage2",
]
