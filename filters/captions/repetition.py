"""Repeated words of captions, counted for all captions at once; `keywords.py` has the rules that use the counts.

The trick: each word is one number, its key, with the number of its phrase in the upper bits. After one sort of all numbers, equal
words of a phrase are neighbours. A phrase ends where a title, a site's name or a sentence would: at a bar, a colon, a dash, a full
stop, two spaces. A loop over captions that counts the words of each was too slow by a factor of twenty.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from filters.text.characters import count_true, kinds_of, of_characters, rows_at
from filters.text.words import keys_of, words_of

# Words that carry a sentence, and words that stock sites repeat by habit: neither counts as a repetition.
FUNCTION_WORDS = (
    "the a an and or of in on at with for to from by is are was were be as it its this that his her their our your my i you we he she "
    "they not into over near during against before after between through along while next out up off "
    "der die das den dem des ein eine einen einem einer und mit von im am auf für zu zum zur bei ist aus nach "
    "le la les l un une du de d et au aux en dans sur avec pour par est qui que son sa ses "
    "el los las del y con para por una unos sus es o os as um uma e do da dos das no na em com "
    "il lo gli di che per nel della dei al sul het een van op met voor te bij "
    "och av på med för att ett og til fra som ile ve bir w z na się и в на с из для от по к у за"
)
HABITS = "vector image images stock photo photos illustration print prints art case cover set"
CONTENT, FUNCTION_WORD, HABIT = 0, 1, 2
SHORTEST = 3  # letters of a word that counts
LEAST_WORDS, LEAST_REPEATED, MOST_FUNCTION = 6, 3, 0.15  # of a phrase whose share counts

PHRASE_END, CAPITAL, DIGIT, SPACE = 1, 2, 3, 4
KINDS = (r"[|:;#@/\\.!?()\[\]{}\x22«»“”„•·~_=+…–—]", r"\p{Lu}", r"\pN", r"\s")
KEY_BITS, SPREAD = np.uint64(40), np.uint64(0x9E3779B97F4A7C15)  # an odd number: a product's upper bits depend on all of a key

# The columns of `repetition`.
SHARE, WORDS, FUNCTION, REPEATED, PHRASES, CAPITALS = range(6)


@of_characters
def repetition(codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """float32[M, 6] of M captions: largest share of words of a phrase that repeat an earlier one of it, then counts by caption.

    The share of a short phrase, or of one with function words, is 0. The counts: words, function words, repetitions, phrases that
    have words, capital letters.
    """
    kinds = kinds_of(codes, KINDS)
    words = words_of(codes, ends)
    first, phrases = _grouped(_phrase_numbers(codes, kinds, ends).take(words.first))
    known = _known(words.keys)
    function = known == FUNCTION_WORD
    counts = (known == CONTENT) & (words.length >= SHORTEST) & (kinds.take(words.first) != DIGIT)
    total, functions = np.bincount(phrases), np.bincount(phrases, function)
    repeated = _repeated(words.keys[counts], phrases[counts], len(total))
    listed = (total >= LEAST_WORDS) & (repeated >= LEAST_REPEATED) & (functions <= MOST_FUNCTION * total)
    rows = rows_at(words.first.take(first), ends)
    result = np.zeros((len(ends) - 1, CAPITALS + 1), np.float32)
    np.maximum.at(result[:, SHARE], rows[listed], (repeated / np.maximum(total, 1))[listed])
    for column, values in ((WORDS, total), (FUNCTION, functions), (REPEATED, repeated), (PHRASES, None)):
        result[:, column] = np.bincount(rows, values, minlength=len(result))
    result[:, CAPITALS] = count_true(kinds == CAPITAL, ends)
    return result


def _phrase_numbers(codes: np.ndarray, kinds: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The number of the phrase that each character is in: int32[C]."""
    breaks = kinds == PHRASE_END
    dashes = np.flatnonzero(codes == ord("-"))
    near = kinds.take(np.stack([dashes - 1, dashes + 1]), mode="clip") == SPACE  # a dash between spaces, no hyphen
    breaks[dashes] = near.any(axis=0)
    space = kinds == SPACE
    breaks[1:] |= space[1:] & space[:-1]
    breaks[ends[:-1][ends[:-1] < len(codes)]] = True
    return np.cumsum(breaks, dtype=np.int32)


def _grouped(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of rising numbers: where each begins to occur, int64[G], and the numbers as 0 … G - 1, int64[W]."""
    changes = np.ones(len(numbers), bool)
    changes[1:] = numbers[1:] != numbers[:-1]
    return np.flatnonzero(changes), np.cumsum(changes) - 1


def _repeated(keys: np.ndarray, phrases: np.ndarray, count: int) -> np.ndarray:
    """How many words of each phrase are equal to another that was counted before: int64[count]."""
    numbers = np.sort(phrases.astype(np.uint64) << KEY_BITS | (keys * SPREAD) >> (np.uint64(64) - KEY_BITS))
    again = np.flatnonzero(numbers[1:] == numbers[:-1])
    return np.bincount((numbers[again] >> KEY_BITS).astype(np.int64), minlength=count)


def _known(keys: np.ndarray) -> np.ndarray:
    """Whether each key is that of a function word, of a habit, or of neither: uint8[W]."""
    known, kinds = _known_keys()
    places = np.minimum(known.searchsorted(keys), len(known) - 1)
    return np.asarray(kinds.take(places) * (known.take(places) == keys))


@lru_cache(1)
def _known_keys() -> tuple[np.ndarray, np.ndarray]:
    """The keys of the words that do not count, sorted, and what each is."""
    keys = [keys_of(words.split()) for words in (FUNCTION_WORDS, HABITS)]
    kinds = np.repeat(np.array([FUNCTION_WORD, HABIT], np.uint8), [*map(len, keys)])
    order = np.argsort(np.concatenate(keys), kind="stable")
    return np.concatenate(keys)[order], kinds[order]
