"""Readability: text that a person could read aloud: its characters were decoded rightly and are mostly letters."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import Rule, Thresholds, matches


def _share_of_marks(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    text = pc.replace_substring_regex(table["caption"], r"\s+", "")
    total = pc.utf8_length(text)
    marks = pc.subtract(total, pc.utf8_length(pc.replace_substring_regex(text, r"[^\pL\pM\pN\x{200c}\x{200d}]", "")))
    # Short captions such as "C++" are not judged by shares.
    return pc.and_(
        pc.greater_equal(total, thresholds["from_chars"]),
        pc.greater(pc.cast(marks, pa.float32()), pc.multiply(pc.cast(total, pa.float32()), thresholds["max"])),
    )


RULES = [
    Rule(
        name="readability.mojibake",
        columns=("caption",),
        drops=matches(
            r"\x{FFFD}",
            r"Ã[\x{80}-\x{BF}]",
            r"Â[\x{80}-\x{BF}]",
            r"â€[\x{80}-\x{BF}œ™˜¦“”]",
            r"[ÐÑ][\x{80}-\x{BF}][ÐÑ]",
            r"&#?\w{2,8};.*&#?\w{2,8};",
        ),
        catches="bytes read in the wrong encoding, and entities left as they stand",
        origin="the usual damage of UTF-8 read as Windows-1252",
        kept={"caption": "Café Ñandú, São Paulo"},
        dropped={"caption": "CafÃ© de la Paix"},
    ),
    Rule(
        name="readability.marks",
        columns=("caption",),
        drops=_share_of_marks,
        catches="captions that are mostly punctuation and symbols (share of characters that are no letter or digit)",
        origin="a choice; Data-Juicer allows 0.42 special characters",
        kept={"caption": "“Guernica”, by P. Picasso (1937)"},
        dropped={"caption": "★★★ >>> $$$ --- !!! *** sale"},
        thresholds={"max": 0.5, "from_chars": 12},
    ),
]
