"""Readability: a person could read the text aloud: its characters are decoded correctly and are mostly letters."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.rules import Rule, Thresholds, above, matches
from filters.text.characters import count_true, kinds_of, of_characters
from filters.text.patterns import match_within

SPACE, DIGIT, LETTER = r"\s", r"\pN", r"[\pL\pM\x{200c}\x{200d}]"
LEAST = 12  # characters: short captions such as "C++" are not judged by shares

EMOJI = (
    r"(?:[\x{1F300}-\x{1F3FA}\x{1F400}-\x{1FAFF}\x{2600}-\x{27BF}\x{2B50}\x{2B55}\x{231A}\x{23E9}-\x{23F3}]|[\x{1F1E6}-\x{1F1FF}]{2})"
    r"[\x{FE0F}\x{20E3}\x{1F3FB}-\x{1F3FF}]*(?:\x{200D}[\x{1F300}-\x{1FAFF}\x{2600}-\x{27BF}][\x{FE0F}\x{1F3FB}-\x{1F3FF}]*)*"
)


def _share(kind: int, codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The share of characters of a kind (0 marks, 2 digits) among those that are not spaces: float32[M]."""
    kinds = kinds_of(codes, (SPACE, DIGIT, LETTER))
    written = count_true(kinds != 1, ends)
    return np.asarray(np.where(written < LEAST, 0, count_true(kinds == kind, ends) / np.maximum(written, 1)), dtype=np.float32)


_marks, _digits = of_characters(partial(_share, 0)), of_characters(partial(_share, 2))


def marks(table: pa.Table) -> pa.Array:
    """The share of a caption's characters, spaces aside, that are neither letter nor digit: float32[N]."""
    return pa.array(_marks(table["caption"]))


def digits(table: pa.Table) -> pa.Array:
    """The share of a caption's characters, spaces aside, that are digits: float32[N]."""
    return pa.array(_digits(table["caption"]))


def _among_words(captions: pa.ChunkedArray, within: np.ndarray) -> pa.Array:
    # A number alone, or a hash, belongs to another concern.
    return pa.array(match_within(captions, [r"\pL.*\s|\s.*\pL"], within))


def _digits_among_words(table: pa.Table) -> pa.Array:
    shares = _digits(table["caption"])
    return pc.if_else(_among_words(table["caption"], shares > 0), pa.array(shares), pa.scalar(None, pa.float32()))


def _mostly_digits(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    # As the measure compared with the threshold, but only the few captions above it are searched.
    return _among_words(table["caption"], above(digits)(table, thresholds).to_numpy(zero_copy_only=False))


_alternating = matches(
    r"(?:\p{Ll}\p{Lu}){3,}",
    r"(?:\p{Ll}\p{Lu}){2}.*(?:\p{Ll}\p{Lu}){2}",
    r"(?:\p{Lu}\p{Ll}){4,}",
    where=r"\p{Ll}\p{Lu}",
)
_apart = matches(r"(?:^|\s)(?:\pL[ .·]){5,}\pL(?:\s|$)")


def _casing(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    return pc.or_(_alternating(table, thresholds), _apart(table, thresholds))


@of_characters
def _private(codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    return count_true((codes >= 0xE000) & (codes <= 0xF8FE), ends)


@of_characters
def _pictographs(codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    return count_true((codes >= 0x1F000) | ((codes >= 0x2300) & (codes < 0x2C00)), ends)


_stacked = matches(r"[\x{0300}-\x{036F}\x{0489}]{3,}", r"[\x{200B}\x{2060}\x{FEFF}\x{00AD}]{3,}")


def _stacked_marks(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    # One such character is the bullet of a line; an icon alone, or several bullets, make no caption.
    private = _private(table["caption"])
    icons = (private > 1) | ((private > 0) & (pc.utf8_length(table["caption"]).to_numpy() < LEAST))
    return pc.or_(_stacked(table, thresholds), pa.array(icons))


def _emoji_wall(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    captions = table["caption"]
    return pa.array(match_within(captions, [rf"(?:{EMOJI}\s*){{6,}}"], _pictographs(captions) >= 6))


RULES = [
    Rule(
        name="readability.mojibake",
        columns=("caption",),
        drops=matches(
            r"\x{FFFD}.*\x{FFFD}",
            r"Ã[\x{80}-\x{BF}ƒ‚„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]",
            r"Â[\x{80}-\x{BF}]",
            r"â€[\x{80}-\x{BF}œ™˜¦“”]",
            r"ï»¿",
            r"(?:[ÐÑ][\x{80}-\x{BF}ƒ‚„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ\x{A0}-\x{BF}]?){3,}",
            r"(?:[äåæçèé][\x{80}-\x{BF}ƒ‚„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]{1,2}){2,}",
            r"(?:[ØÙ][\x{80}-\x{BF}‚„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸƒ]){3,}",
            r"ã[\x{80}-\x{83}‚ƒ„][\x{80}-\x{BF}]?",
            r"(?:[РС][\x{0400}-\x{045F}\x{A0}-\x{BF}‚„…†‡€‰‹‘’“”•–—™›№]){4,}",
            "锟斤拷|烫烫烫|屯屯屯|鈥|銆|鐨勬|涓€|浣犲",
        ),
        catches="bytes read in the wrong encoding",
        origin="the usual damage of UTF-8 read as Windows-1252, Windows-1251 or GBK",
        kept={"caption": "Café Ñandú, São Paulo; РОССИЯ, Санкт-Петербург"},
        dropped={"caption": "CafÃ© de la Paix"},
    ),
    Rule(
        name="readability.escapes",
        columns=("caption",),
        drops=matches(
            r"&#?\w{2,8};.*&#?\w{2,8};",
            r"&amp;\w{2,6};",
            r"(?:\\u[0-9a-fA-F]{4}){2,}|\\u00[0-9a-fA-F]{2}|(?:\\x[0-9a-fA-F]{2}){2,}",
            r"(?:%[0-9A-F]{2}){3,}|\w(?:%20\w+){2,}",
            r"(?:=[0-9A-F]{2}){2,}|=\?(?i:utf-8)\?",
            r"(?:\\[nrt]){2,}|\\[nrt].*\\[nrt]",
        ),
        catches="entities, percent signs and escapes that were not decoded",
        origin="a choice",
        kept={"caption": "Save 20% &mdash; today only"},
        dropped={"caption": "Fish &amp; chips &quot;to go&quot;"},
    ),
    Rule(
        name="readability.marks",
        columns=("caption",),
        drops=above(marks),
        measure=marks,
        catches="captions that are mostly punctuation and symbols (share of characters that are no letter or digit)",
        origin="a choice; Data-Juicer allows 0.42 special characters, of documents",
        kept={"caption": "“Guernica”, by P. Picasso (1937)"},
        dropped={"caption": "★★★ >>> $$$ --- !!! *** sale"},
        thresholds={"max": 0.5},
    ),
    Rule(
        name="readability.digits",
        columns=("caption",),
        drops=_mostly_digits,
        measure=_digits_among_words,
        catches="captions that are mostly digits (share of characters)",
        origin="a choice",
        kept={"caption": "Boeing 747-8, 12.04.2017"},
        dropped={"caption": "4006381333931 03 2214 EAN"},
        thresholds={"max": 0.6},
    ),
    Rule(
        name="readability.symbol_run",
        columns=("caption",),
        drops=matches(
            r"!{6,}|\?{6,}|-{6,}|_{5,}|={4,}|\*{6,}|~{5,}|#{4,}|\|{3,}|/{4,}|<{3,}|>{4,}|\${4,}|\^{4,}|%{4,}|&{3,}|\+{5,}|★{7,}|☆{7,}|●{5,}",
            r"■{4,}|▬{3,}|═{3,}|！{5,}|？{5,}|。{4,}|·{5,}|•{4,}|~{5,}|◆{4,}",
            r"[^\pL\pN\pM\s\x{1F000}-\x{1FAFF}\x{2600}-\x{27BF}\x{FE0F}\x{200D}*.…_]{9,}",
        ),
        catches="long runs of one symbol, or of any",
        origin="a choice",
        kept={"caption": "Hotel Astoria ★★★★★, Vienna"},
        dropped={"caption": "======== SALE ========"},
    ),
    Rule(
        name="readability.casing",
        columns=("caption",),
        drops=_casing,
        catches="letters that change case at every step, or stand apart",
        origin="a choice",
        kept={"caption": "McDonald's and iPhone, HeLa cells, LaTeX, J. R. R. Tolkien"},
        dropped={"caption": "sUmMeR pArTy pHoToS"},
    ),
    Rule(
        name="readability.stacked_marks",
        columns=("caption",),
        drops=_stacked_marks,
        catches="zalgo, invisible characters and icon fonts",
        origin="a choice; Vietnamese and Yoruba stack two marks",
        kept={"caption": "Phở bò, Hà Nội, Việt Nam"},
        dropped={"caption": "Z̸̢͎̈́a̷̙͋͜l̵̰̈́͠g̶̱̔̕o̸̜͊̕ t̷̪̿͝e̸̟͗͝x̶͖̎͠t̴̫̐͠"},
    ),
    Rule(
        name="readability.emoji_wall",
        columns=("caption",),
        drops=_emoji_wall,
        catches="six emoji or more in a row",
        origin="a choice",
        kept={"caption": "Happy birthday! 🎉🎂🎈"},
        dropped={"caption": "Party 🎉🎂🎈🎁🥳🎊🍰"},
    ),
]
