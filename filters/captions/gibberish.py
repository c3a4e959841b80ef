"""Gibberish: keyboard noise, random strings, hashes. Words are judged by their trigrams: three letters that hardly a word of
fifty languages has are noise, in whatever language.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.captions.letters import ALPHABETS, letter_numbers, trigrams
from filters.characters import codes_of, count_true, per_caption, rows_at
from filters.rules import Rule, Thresholds, above, matches

# How many trigrams that no word has make a word improbable, and which share of its trigrams.
# Our Cyrillic words are fewer, so more is asked for.
UNSEEN, IMPROBABLE = {"latin": 3, "cyrillic": 4}, {"latin": 0.3, "cyrillic": 0.5}
LEAST_LETTERS = 5
HELD_DOWN = 6

# Three neighbours on a keyboard, of Latin and of Russian ones.
NEIGHBOURS = "aze|zer|qsd|klm|wxc|qwe|wer|ert|rty|tyu|uio|iop|asd|sdf|dfg|fgh|ghj|hjk|jkl|zxc|xcv|cvb|vbn|bnm|йцу|цук|уке|кен|енг|нгш|гшщ|шщз|про|рол|апр|фыв|ыва|вап|олд|лдж|ячс|чсм"


def _noise(table: pa.Table) -> pa.Array:
    """The share of a caption's characters, spaces aside, that stand in words no language has: float32[N]."""
    return per_caption(table["caption"], _noise_of)


def _noise_of(captions: pa.StringArray) -> np.ndarray:
    codes, ends = codes_of(captions)
    noise = np.zeros(len(captions))
    for alphabet, seen in trigrams().items():
        letters = letter_numbers(alphabet)[codes].astype(np.int32)
        before, after = _neighbours(letters, ends)
        size = len(ALPHABETS[alphabet]) + 1
        unseen = ~seen[(before * size + letters) * size + after] & (letters > 0)
        odd = np.flatnonzero(unseen)
        if not len(odd):
            continue
        # Hardly a word has one of them: only the words that do are looked at whole.
        first, last = np.flatnonzero((before == 0) & (letters > 0)), np.flatnonzero((after == 0) & (letters > 0))
        words, counts = np.unique(np.searchsorted(first, odd, side="right") - 1, return_counts=True)
        length = last[words] - first[words] + 1
        enough = (counts >= UNSEEN[alphabet]) & (length >= LEAST_LETTERS)
        improbable = enough & (counts >= IMPROBABLE[alphabet] * length)
        noise += np.bincount(rows_at(first[words], ends), length * improbable, minlength=len(captions))
    return np.asarray(noise / np.maximum(count_true(codes > ord(" "), ends), 1), dtype=np.float32)


def _neighbours(letters: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The letters before and after each, 0 where a caption begins or ends."""
    before, after = np.zeros_like(letters), np.zeros_like(letters)
    before[1:], after[:-1] = letters[:-1], letters[1:]
    starts = ends[:-1][ends[:-1] < len(letters)]
    before[starts] = 0
    after[starts[starts > 0] - 1] = 0
    return before, after


def _held_down(table: pa.Table) -> pa.Array:
    """The share of a caption's characters, spaces aside, in runs of six and more of one letter: float32[N]."""
    return per_caption(table["caption"], _held_down_of)


def _held_down_of(captions: pa.StringArray) -> np.ndarray:
    codes, ends = codes_of(captions)
    run = np.ones(max(0, len(codes) - HELD_DOWN + 1), bool)
    same = codes[1:] == codes[:-1]
    for step in range(HELD_DOWN - 1):
        run &= same[step : len(run) + step]
    first = np.flatnonzero(run)
    rows = rows_at(first, ends)
    is_letter = np.array([chr(code).isalpha() for code in codes[first].tolist()], dtype=bool)
    held = np.bincount(rows[is_letter & (rows == rows_at(first + HELD_DOWN - 1, ends))], minlength=len(captions))
    written = count_true(codes > ord(" "), ends)
    return np.asarray(np.where(held, held + HELD_DOWN - 1, 0) / np.maximum(written, 1), dtype=np.float32)


def _random_token(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    one = pc.match_substring_regex(table["caption"], r"^\s*[\w+/=-]{12,}\s*$")
    return pc.and_(one, pc.match_substring_regex(table["caption"], r"(?:[A-Za-z]+[0-9]+){3}|[0-9a-z][A-Z]+[0-9]+[a-z]+[A-Z0-9]"))


ORIGIN = "InternVL §3.2 names gibberish; the measure is ours"

RULES = [
    Rule(
        name="gibberish.keyboard",
        columns=("caption",),
        drops=above(_noise),
        measure=_noise,
        catches="letters piled as no language does (Latin and Cyrillic), in a large share of the caption",
        origin=ORIGIN + "; trigrams of CLDR's names of emoji in fifty languages",
        kept={"caption": "Strč prst skrz krk, Krzysztof Szczepański, Ljubljana"},
        dropped={"caption": "sdfkjh qwpxz bvnmtk"},
        thresholds={"max": 0.4},
    ),
    Rule(
        name="gibberish.keyboard_rows",
        columns=("caption",),
        drops=matches(
            rf"(?i)^\W*(?:(?:{NEIGHBOURS}){{2,}}\w{{0,3}}\W*)+$",
            rf"(?i)^\W*(?:(?:{NEIGHBOURS})\w{{0,2}}\W*){{2,}}$",
            r"(?i)^\W*asdf\w?\W*$",
            "[ㄱ-ㅣ]{5,}",
        ),
        catches="nothing but neighbouring keys",
        origin=ORIGIN,
        kept={"caption": "A QWERTY keyboard beside an AZERTY one"},
        dropped={"caption": "asdasd qweqwe"},
    ),
    Rule(
        name="gibberish.random_string",
        columns=("caption",),
        drops=matches(
            r"^\s*(?:(?:0x)?[0-9a-fA-F]{16,}|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F-]{17,}|[A-Za-z0-9+/]{16,}={1,2})\s*$"
        ),
        catches="nothing but a hash, a UUID or base64",
        origin=ORIGIN,
        kept={"caption": "Donaudampfschifffahrtsgesellschaft"},
        dropped={"caption": "9f86d081884c7d659a2feaa0c55ad015"},
    ),
    Rule(
        name="gibberish.random_token",
        columns=("caption",),
        drops=_random_token,
        catches="one word in which letters and digits take turns",
        origin=ORIGIN,
        kept={"caption": "Canon EF 70-200mm f2.8L"},
        dropped={"caption": "xK9vQ2mZpL7tB4"},
    ),
    Rule(
        name="gibberish.repeated_character",
        columns=("caption",),
        drops=above(_held_down),
        measure=_held_down,
        catches="one key held down, in a large share of the caption",
        origin=ORIGIN,
        kept={"caption": "Goooooooal! The crowd at Wembley goes wild"},
        dropped={"caption": "aaaaaaaaaaaa"},
        thresholds={"max": 0.3},
    ),
]
