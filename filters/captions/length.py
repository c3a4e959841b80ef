"""Length: captions too long to describe one picture. Words count CJK characters singly, so the bound fits Chinese too."""

from __future__ import annotations

from filters.rules import Rule, above, column

RULES = [
    Rule(
        name="length.words",
        columns=("caption_words",),
        drops=above(column("caption_words")),
        catches="articles and keyword dumps in the place of a caption",
        origin="COYO: at most 256 words",
        kept={"caption_words": 12},
        dropped={"caption_words": 400},
        thresholds={"max": 256},
    )
]
