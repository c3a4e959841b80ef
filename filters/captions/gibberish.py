"""Gibberish: keyboard noise, random strings, hashes. Judged where it can be: letters that no language strings together."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import Rule, Thresholds, matches

# Every Latin letter that is no vowel in some language that writes without many vowels would be a false friend: Czech and Slovak
# build words on l and r, Polish on sz and cz, German on sch; so y, l, r, and the pairs below end a run.
HARD = "bcdfghjkmnpqstvwxz"
COMMON_CLUSTERS = r"(?i)(sch|tch|szcz|cz|sz|ch|sh|th|ts|tz|ng|nk|ck|ph|gh|kh|zh|st|nt|nd|mp|ff|ss|tt)"


def _noise_words(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    text = pc.replace_substring_regex(table["caption"], COMMON_CLUSTERS, "h")
    noise = pc.count_substring_regex(text, rf"(?i)[{HARD}]{{4,}}|\b[{HARD}]*[qx][{HARD}]*q?[{HARD}]{{2,}}")
    words = pc.count_substring_regex(text, r"\S+")
    return pc.and_(
        pc.greater_equal(noise, 1),
        pc.greater_equal(pc.cast(noise, pa.float32()), pc.multiply(pc.cast(words, pa.float32()), thresholds["share"])),
    )


ORIGIN = "InternVL §3.2 names gibberish; the patterns are ours"

RULES = [
    Rule(
        name="gibberish.keyboard",
        columns=("caption",),
        drops=_noise_words,
        catches="Latin consonants piled as no language does, in a large share of the words",
        origin=ORIGIN,
        kept={"caption": "Strč prst skrz krk"},
        dropped={"caption": "sdfkjh qwpxz bvnmtk"},
        thresholds={"share": 0.3},
    ),
    Rule(
        name="gibberish.random_string",
        columns=("caption",),
        drops=matches(
            r"^\s*([0-9a-fA-F]{16,}|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{17,}|(?:[A-Za-z]*[0-9]+[A-Za-z]+){4,}[0-9A-Za-z+/_=-]*)\s*$"
        ),
        catches="nothing but a hash, an identifier or base64",
        origin=ORIGIN,
        kept={"caption": "Canon EF 70-200mm f2.8L"},
        dropped={"caption": "9f86d081884c7d659a2feaa0c55ad015"},
    ),
    Rule(
        name="gibberish.repeated_character",
        columns=("caption",),
        drops=matches(
            "|".join(f"{letter}{{6,}}" for letter in "abcdefghijklmnopqrstuvwxyz")
            + r"|(?:asdf|qwer|zxcv|hjkl|uiop){2,}|(?i:asdfgh|qwerty ?uiop|zxcvbn)"
        ),
        catches="one key held down, or the keyboard's rows",
        origin=ORIGIN,
        kept={"caption": "Goooal! The crowd at Wembley"},
        dropped={"caption": "aaaaaaaaaaaa"},
    ),
]
