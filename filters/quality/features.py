"""A caption as rows of tokens and a few statistics: all that the model reads.

Each token has a structure (the class of a function word, how common another word is and how it ends, a kind of number, which
mark), which says nothing of capitals; a form (small letters, Capitalised, CAPITALS, …, with the spaces around it); and a place in
the vocabulary. A character of a script without spaces has a bucket besides, for those that the vocabulary lacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from filters.text.characters import CODES, codes_of
from filters.text.tokens import ALONE, DIGIT, MARK, UPPER, Tokens, repetitions, tokens_of
from filters.text.vocabulary import CLASSES, vocabulary

LONGEST = 48  # tokens of a caption that are read
MARKS = ',.-–—|/:;()[]"“”‘’#@&®™!?…_+*%$€£=<>~。，、：！？《》【】「」（）・'

# Structures: 0 is outside the caption, then the classes of words, then
CONTENT = 1 + len(CLASSES)  # four bands of frequency by four endings
MIXED = CONTENT + 16
WITH_DIGITS, LETTER = MIXED + 1, MIXED + 2
NUMBER = LETTER + 1  # a year, with letters in it, of one or two digits, three or four, more
UNSPACED = NUMBER + 5
FIRST_MARK = UNSPACED + 1
STRUCTURES = FIRST_MARK + len(MARKS) + 1
BANDS = (3.4, 4.3)  # of frequency; below them the unknown words and the rare ones
# Forms: 0 is outside; each of these, and each mark, four times: whether a space stands before it, whether it is the first.
FORMS = 1 + 4 * (7 + len(MARKS) + 1)
BUCKETS = 4096

STATISTICS = {
    "completeness": ("function_words", "function_share", "small_function_share", "verbs", "persons", "full_stop", "small_first"),
    "fluency": ("known_share", "unknown_share", "rare_share", "frequency", "word_length"),
    "information": ("unspaced_share",),
    "style": ("capitalised_share", "capitals_share", "digit_share", "mark_share", "glued_share", "space_share"),
    "repetition": ("repeated_share", "hyphens", "comma_share", "log_tokens", "tokens", "words"),
}
PARTS = tuple(STATISTICS)
FUNCTION_CLASSES = CLASSES.index("relative") + 1  # the first so many classes bind a phrase
VERB, PERSON = CLASSES.index("verb_scene") + 1, CLASSES.index("person") + 1
RARE = 3.0


@dataclass(frozen=True)
class Features:
    """What the model reads of N captions with T tokens, of each at most LONGEST.

    first       where each caption's tokens begin: int64[N + 1]
    structures  uint8[T], below STRUCTURES
    forms       uint8[T], below FORMS
    words       rows of the vocabulary: int32[T]
    buckets     of characters of scripts without spaces, 0 for other tokens: int64[T]
    statistics  of each part of the score: float32[N, S]
    """

    first: np.ndarray
    structures: np.ndarray
    forms: np.ndarray
    words: np.ndarray
    buckets: np.ndarray
    statistics: dict[str, np.ndarray]


def features_of(captions: pa.StringArray) -> Features:
    """The features of N captions, none NULL."""
    codes, ends = codes_of(captions)
    tokens = tokens_of(codes, ends)
    words = vocabulary().places(tokens.keys)
    is_word = tokens.kind <= UPPER
    opens = np.zeros(len(words), bool)
    opens[tokens.first[:-1][np.diff(tokens.first) > 0]] = True
    marks = _mark_places().take(codes.take(tokens.start))
    structures = _structures(tokens, codes, words, marks, is_word)
    forms = _forms(tokens, marks, opens, is_word)
    buckets = np.where(tokens.kind == ALONE, (tokens.keys >> np.uint64(20)) % np.uint64(BUCKETS - 1) + np.uint64(1), np.uint64(0))
    statistics = _statistics(tokens, structures, forms, words, opens, is_word)
    read, first = _read(tokens.first)
    return Features(first, structures[read], forms[read], words[read], buckets.astype(np.int64)[read], statistics)


def _read(first: np.ndarray) -> tuple[np.ndarray | slice, np.ndarray]:
    """Which tokens are read, and where each caption's begin among them."""
    counts = np.diff(first)
    if not (counts > LONGEST).any():
        return slice(None), first
    place = np.arange(first[-1]) - np.repeat(first[:-1], counts)
    return np.flatnonzero(place < LONGEST), np.concatenate([np.zeros(1, np.int64), np.cumsum(np.minimum(counts, LONGEST))])


def _structures(tokens: Tokens, codes: np.ndarray, words: np.ndarray, marks: np.ndarray, is_word: np.ndarray) -> np.ndarray:
    known, small = vocabulary(), tokens.capitals == 0
    frequency = known.frequency.take(words)
    band = np.select([frequency >= BANDS[1], frequency >= BANDS[0], frequency > 0], [0, 1, 2], 3)
    single = (tokens.capitals <= 1) & (small | (tokens.kind == UPPER))  # CAPITALS have no ending, as words have in titles
    structures = CONTENT + 4 * band + np.where(single, _endings(tokens, codes), 0)
    mixed = (tokens.capitals >= 1) & ~single & (tokens.capitals < tokens.length)
    structures = np.where(mixed, MIXED, structures)
    structures = np.where(tokens.digits > 0, WITH_DIGITS, structures)
    structures = np.where(tokens.length == 1, LETTER, structures)
    classes = known.classes.take(words)
    structures = np.where((classes > 0) & ((tokens.length > 1) | small), classes, structures)
    other = np.where(tokens.kind == MARK, FIRST_MARK + marks.astype(np.int64), UNSPACED)
    other = np.where(tokens.kind == DIGIT, NUMBER + _numbers(tokens, codes), other)
    return np.where(is_word, structures, other).astype(np.uint8)


def _endings(tokens: Tokens, codes: np.ndarray) -> np.ndarray:
    """1 for -ing, 2 for -ed, 3 for -s, of words longer than these: int64[T]."""
    end = tokens.start + tokens.length
    last, before, third = (codes.take(np.maximum(end - count, 0)) for count in (1, 2, 3))
    ing = (tokens.length > 4) & (last == ord("g")) & (before == ord("n")) & (third == ord("i"))
    ed = (tokens.length > 3) & (last == ord("d")) & (before == ord("e"))
    plural = (tokens.length > 3) & (last == ord("s"))
    return np.asarray(ing * 1 + ed * 2 + plural * 3)


def _numbers(tokens: Tokens, codes: np.ndarray) -> np.ndarray:
    opening = codes.take(tokens.start)
    year = (tokens.length == 4) & (tokens.digits == 4) & ((opening == ord("1")) | (opening == ord("2")))
    return np.select([year, tokens.digits < tokens.length, tokens.length <= 2, tokens.length <= 4], [0, 1, 2, 3], 4)


def _forms(tokens: Tokens, marks: np.ndarray, opens: np.ndarray, is_word: np.ndarray) -> np.ndarray:
    capitals = tokens.capitals
    capitalised = (tokens.kind == UPPER) & (capitals == 1)
    all_capitals = (capitals >= 2) & (capitals == tokens.length)
    of_words = np.select([tokens.digits > 0, capitals == 0, capitalised, all_capitals], [0, 1, 2, 3], 4)
    others = np.where(tokens.kind == MARK, 7 + marks.astype(np.int64), np.where(tokens.kind == DIGIT, 5, 6))
    return np.asarray(1 + 4 * np.where(is_word, of_words, others) + 2 * tokens.after_space + opens, np.uint8)


def _statistics(
    tokens: Tokens, structures: np.ndarray, forms: np.ndarray, words: np.ndarray, opens: np.ndarray, is_word: np.ndarray
) -> dict[str, np.ndarray]:
    """float32[N, S] for each part."""
    rows, captions = tokens.rows, len(tokens.first) - 1

    def count(flags: np.ndarray) -> np.ndarray:
        return np.bincount(rows[flags], minlength=captions).astype(np.float32)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(rows, values, minlength=captions).astype(np.float32)

    form, known = (forms.astype(np.int64) - 1) >> 2, words < vocabulary().unknown
    frequency = vocabulary().frequency.take(words)
    in_words = is_word & known
    all_tokens, all_words = np.diff(tokens.first).astype(np.float32), count(is_word)
    of_tokens, of_words = np.maximum(all_tokens, 1), np.maximum(all_words, 1)
    function = (structures > 0) & (structures <= FUNCTION_CLASSES)
    inner = is_word & ~opens
    spelled = is_word | (tokens.kind == ALONE)
    marked = tokens.kind == MARK
    values = {
        "function_words": count(function),
        "function_share": count(function) / of_words,
        "small_function_share": count(function & (tokens.capitals == 0)) / of_words,
        "verbs": count(structures == VERB),
        "persons": count(structures == PERSON),
        "full_stop": _of_edges(tokens, structures == FIRST_MARK + MARKS.index("."), last=True),
        "small_first": _of_edges(tokens, tokens.capitals == 0, last=False),
        "known_share": count(known) / of_tokens,
        "unknown_share": count(is_word & ~known) / of_words,
        "rare_share": count(is_word & (frequency < RARE)) / of_words,
        "frequency": total(frequency * in_words) / of_words,
        "word_length": total(tokens.length * is_word) / of_words,
        "unspaced_share": count(tokens.kind == ALONE) / of_tokens,
        "capitalised_share": count(inner & ((form == 2) | (form == 3))) / np.maximum(count(inner), 1),
        "capitals_share": count(form == 3) / of_words,
        "digit_share": count(tokens.digits > 0) / of_tokens,
        "mark_share": count(marked) / of_tokens,
        "glued_share": count(marked & ~tokens.after_space & ~opens) / of_tokens,
        "space_share": count(tokens.after_space) / of_tokens,
        "repeated_share": repetitions(tokens, spelled).astype(np.float32) / np.maximum(count(spelled), 1),
        "hyphens": np.minimum(count((form == 7 + MARKS.index("-")) & ~tokens.after_space & ~opens), 6),
        "comma_share": np.minimum(count(form == 7 + MARKS.index(",")), 12) / of_words,
        "log_tokens": np.log1p(all_tokens),
        "tokens": np.minimum(all_tokens, 60),
        "words": np.minimum(all_words, 50),
    }
    return {part: np.stack([values[name] for name in names], axis=1).astype(np.float32) for part, names in STATISTICS.items()}


def _of_edges(tokens: Tokens, flags: np.ndarray, *, last: bool) -> np.ndarray:
    """Whether the flag of each caption's first or last token is true, 0 for a caption without one: float32[N]."""
    values = np.zeros(len(tokens.first) - 1, np.float32)
    present = np.diff(tokens.first) > 0
    values[present] = flags[tokens.first[1:][present] - 1 if last else tokens.first[:-1][present]]
    return values


@lru_cache(1)
def _mark_places() -> np.ndarray:
    """The place of each character in MARKS, len(MARKS) for others: uint8[0x110000]."""
    places = np.full(CODES, len(MARKS), np.uint8)
    places[[ord(mark) for mark in MARKS]] = range(len(MARKS))
    return places
