"""Quality: a caption says what its picture shows; titles, names, brands, headlines and keywords say little of it.

The threshold of LAION-en leaves 4.7 % of 10 000 real captions of it, the paper's share of what stage 1 keeps. Of other sources that
the paper cuts we had no real captions: they are left whole until `pairmill calibrate --stage 2` fits a threshold on one's own.
"""

from __future__ import annotations

from filters.rules import Rule, below, column

RULES = [
    Rule(
        name="quality.low",
        columns=("quality",),
        drops=below(column("quality")),
        catches="captions that say little of a picture: names, titles, products, headlines",
        origin="InternVL, Table 2: stage 2 keeps 4.7 % of LAION-en; the score and its thresholds are ours (filters/quality)",
        kept={"quality": 0.8},
        dropped={"quality": 0.2},
        thresholds={"min": 0.0},
        by_source={"laion2b-en": {"min": 0.67}},
        measure=column("quality"),
    ),
]
