"""Length: too long to describe one picture, or too short to describe any. Words count CJK characters singly."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import Rule, Thresholds, above, below, column
from filters.text.patterns import match_within

SYLLABLES = r"[\p{Han}\p{Hangul}\p{Devanagari}\p{Bengali}\p{Tamil}\p{Telugu}\p{Ethiopic}]"


def _characters_of_one_word(table: pa.Table) -> pa.Array:
    one_word = pc.fill_null(pc.less(table["caption_words"], 2), False).to_numpy()
    # Where a character is a syllable or a word, one or two can be a caption: 바다 is the sea, घर a house, 猫 a cat.
    judged = one_word & ~match_within(table["caption"], [SYLLABLES], one_word)
    return pc.if_else(pa.array(judged), table["caption_chars"], pa.scalar(None, pa.int32()))


def _short(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    return pc.fill_null(below(_characters_of_one_word)(table, thresholds), False)


RULES = [
    Rule(
        name="length.short",
        columns=("caption", "caption_chars", "caption_words"),
        drops=_short,
        measure=_characters_of_one_word,
        catches="one word of hardly a letter (least characters of a caption of one word)",
        origin="a choice; DataComp requires three words, which a Chinese caption of one word fails",
        kept={"caption": "바다", "caption_chars": 2, "caption_words": 1},
        dropped={"caption": "ok", "caption_chars": 2, "caption_words": 1},
        thresholds={"min": 3},
    ),
    Rule(
        name="length.words",
        columns=("caption_words",),
        drops=above(column("caption_words")),
        measure=column("caption_words"),
        catches="articles and keyword dumps instead of a caption",
        origin="COYO: at most 256 words",
        kept={"caption_words": 12},
        dropped={"caption_words": 400},
        thresholds={"max": 256},
    ),
    Rule(
        name="length.characters",
        columns=("caption_chars",),
        drops=above(column("caption_chars")),
        measure=column("caption_chars"),
        catches="whole pages, in whatever script",
        origin="COYO: at most 1000 characters",
        kept={"caption_chars": 300},
        dropped={"caption_chars": 4000},
        thresholds={"max": 1000},
    ),
]
