"""Gibberish: keyboard noise, random strings, hashes. Words are judged by their trigrams: three letters in a row that hardly any
word of fifty languages has are noise, whatever the language.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from filters.captions.letters import ALPHABETS, letter_count, letter_numbers, unseen_trigrams
from filters.rules import Rule, Thresholds, above, matches
from filters.text.characters import count_true, of_characters, rows_at
from filters.text.patterns import match_any, match_within, prepare

# From how many unseen trigrams, and from which share of its letters, a word is improbable.
# The table was made of fewer Cyrillic words, so their limits are higher.
UNSEEN, IMPROBABLE = {"latin": 3, "cyrillic": 4}, {"latin": 0.34, "cyrillic": 0.5}
LEAST_LETTERS = 5
HELD_DOWN = 6

# Three neighbours on a keyboard, of Latin and of Russian ones.
NEIGHBOURS = "aze|zer|qsd|klm|wxc|qwe|wer|ert|rty|tyu|uio|iop|asd|sdf|dfg|fgh|ghj|hjk|jkl|zxc|xcv|cvb|vbn|bnm|йцу|цук|уке|кен|енг|нгш|гшщ|шщз|про|рол|апр|фыв|ыва|вап|олд|лдж|ячс|чсм"


@of_characters
def _noise(codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    letters, unseen = _unseen_trigrams(codes, ends)
    positions = np.flatnonzero(unseen)
    if not len(positions):
        return np.zeros(len(ends) - 1, np.float32)
    # Few words have an unseen trigram: only these are measured.
    first, last = _words(letters, ends)
    words, counts = np.unique(np.searchsorted(first, positions, side="right") - 1, return_counts=True)
    length = last[words] - first[words] + 1
    cyrillic = letters[first[words]] > len(ALPHABETS["latin"])
    least, share = (np.where(cyrillic, limit["cyrillic"], limit["latin"]) for limit in (UNSEEN, IMPROBABLE))
    improbable = (counts >= least) & (length >= LEAST_LETTERS) & (counts >= share * length)
    noise = np.bincount(rows_at(first[words], ends), length * improbable, minlength=len(ends) - 1)
    return np.asarray(noise / np.maximum(count_true(codes > ord(" "), ends), 1), dtype=np.float32)


def _unseen_trigrams(codes: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of the letter at each character, uint8[C], and whether no known word has it between its neighbours, bool[C]."""
    padded = np.zeros(len(codes) + 2, np.uint8)
    letters = padded[1:-1]
    letter_numbers().take(codes, out=letters)
    size = letter_count()
    pairs = padded[:-1].astype(np.uint16) * np.uint16(size) + padded[1:]
    trigram = pairs[:-1].astype(np.int32) * size + padded[2:]
    first, last = ends[:-1][np.diff(ends) > 0], ends[1:][np.diff(ends) > 0] - 1
    trigram[first] -= padded[first].astype(np.int32) * size * size  # the letter before belongs to another caption
    trigram[last] -= padded[last + 2]
    return letters, unseen_trigrams().take(trigram)


def _words(letters: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last positions of the runs of letters of one alphabet, each within one caption."""
    alphabet = (letters > 0).view(np.uint8) + (letters > len(ALPHABETS["latin"]))
    breaks = np.ones(len(letters) + 1, bool)
    breaks[1:-1] = alphabet[1:] != alphabet[:-1]
    breaks[ends] = True
    edges = np.flatnonzero(breaks)
    within = alphabet[edges[:-1]] > 0
    return edges[:-1][within], edges[1:][within] - 1


@of_characters
def _held_down(codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    run = np.ones(max(0, len(codes) - HELD_DOWN + 1), bool)
    same = codes[1:] == codes[:-1]
    for step in range(HELD_DOWN - 1):
        run &= same[step : len(run) + step]
    first = np.flatnonzero(run)
    rows = rows_at(first, ends)
    is_letter = np.array([chr(code).isalpha() for code in codes[first].tolist()], dtype=bool)
    held = np.bincount(rows[is_letter & (rows == rows_at(first + HELD_DOWN - 1, ends))], minlength=len(ends) - 1)
    written = count_true(codes > ord(" "), ends)
    return np.asarray(np.where(held, held + HELD_DOWN - 1, 0) / np.maximum(written, 1), dtype=np.float32)


def noise(table: pa.Table) -> pa.Array:
    """The share of a caption's characters, spaces aside, that are in improbable words: float32[N]."""
    return pa.array(_noise(table["caption"]))


def held_down(table: pa.Table) -> pa.Array:
    """The share of a caption's characters, spaces aside, in runs of six and more of one letter: float32[N]."""
    return pa.array(_held_down(table["caption"]))


ONE_WORD = prepare([r"^\s*[\w+/=-]{12,}\s*$"])


def _random_token(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    captions = table["caption"]
    turns = [r"(?:[A-Za-z]+[0-9]+){3}|[0-9a-z][A-Z]+[0-9]+[a-z]+[A-Z0-9]"]
    return pa.array(match_within(captions, turns, match_any(captions, ONE_WORD)))


ORIGIN = "InternVL §3.2 names gibberish; the measure is ours"

RULES = [
    Rule(
        name="gibberish.keyboard",
        columns=("caption",),
        drops=above(noise),
        measure=noise,
        catches="words with letters in an order that no language has (Latin and Cyrillic), in a large share of the caption",
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
        drops=above(held_down),
        measure=held_down,
        catches="one key held down, in a large share of the caption",
        origin=ORIGIN,
        kept={"caption": "Goooooooal! The crowd at Wembley goes wild"},
        dropped={"caption": "aaaaaaaaaaaa"},
        thresholds={"max": 0.3},
    ),
]
