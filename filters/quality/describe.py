"""What the model reads of each token, and what is counted in each caption.

Each token has a structure (the class of a function word, how common another word is and how it ends, a kind of number, which
mark), which says nothing of capitals; a form (small letters, Capitalised, CAPITALS, …, with the spaces around it); and a place in
the vocabulary. A character of a script without spaces has a bucket besides, for those that the vocabulary lacks.
`_describe.c` does the same as the NumPy here, six times as fast, where it was compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from filters.text.characters import CODES
from filters.text.tokens import ALONE, DIGIT, MARK, UPPER, Tokens, repetitions
from filters.text.vocabulary import CLASSES, vocabulary

try:
    import _pairmill_describe as compiled
except ImportError:  # installed where there is no C compiler
    compiled = None

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

FUNCTION_CLASSES = CLASSES.index("relative") + 1  # the first so many classes bind a phrase
VERB, PERSON = CLASSES.index("verb_scene") + 1, CLASSES.index("person") + 1
RARE = 3.0

# What is counted in a caption, in the order of the columns.
COUNTS = (
    *("words", "functions", "small_functions", "verbs", "persons", "stop_at_end", "small_at_first", "known", "unknown_words"),
    *("rare_words", "letters", "unspaced", "inner", "inner_capitalised", "capitals", "with_digits", "marks", "glued"),
    *("after_space", "spelled", "repeated", "hyphens", "commas"),
)


@dataclass(frozen=True)
class Description:
    """Of N captions with T tokens.

    structures  uint8[T], below STRUCTURES
    forms       uint8[T], below FORMS
    buckets     of characters of scripts without spaces, 0 for other tokens: int32[T]
    counts      of tokens of each caption, in the columns COUNTS: int32[N, COUNTS]
    frequency   the sum over known words: float64[N]
    """

    structures: np.ndarray
    forms: np.ndarray
    buckets: np.ndarray
    counts: np.ndarray
    frequency: np.ndarray


def describe(tokens: Tokens, codes: np.ndarray, words: np.ndarray) -> Description:
    """What tokens are, given the characters that they were cut of and their places in the vocabulary, int32[T]."""
    if compiled is None:
        return describe_by_numpy(tokens, codes, words)
    captions, count, known = len(tokens.first) - 1, len(words), vocabulary()
    result = Description(
        np.empty(count, np.uint8),
        np.empty(count, np.uint8),
        np.empty(count, np.int32),
        np.empty((captions, len(COUNTS)), np.int32),
        np.empty(captions, np.float64),
    )
    cut = (tokens.first, tokens.start, tokens.length, tokens.kind, tokens.keys, tokens.capitals, tokens.digits)
    read = (tokens.after_space, words, known.classes, known.frequency, _mark_places())
    written = (result.structures, result.forms, result.buckets, result.counts, result.frequency)
    compiled.describe(codes, codes.itemsize, *cut, *read, *written)
    return result


def describe_by_numpy(tokens: Tokens, codes: np.ndarray, words: np.ndarray) -> Description:
    """The same as `describe`, in NumPy."""
    is_word = tokens.kind <= UPPER
    opens = np.zeros(len(words), bool)
    opens[tokens.first[:-1][np.diff(tokens.first) > 0]] = True
    marks = _mark_places().take(codes.take(tokens.start))
    structures = _structures(tokens, codes, words, marks, is_word)
    forms = _forms(tokens, marks, opens, is_word)
    buckets = np.where(tokens.kind == ALONE, (tokens.keys >> np.uint64(20)) % np.uint64(BUCKETS - 1) + np.uint64(1), np.uint64(0))
    captions = len(tokens.first) - 1
    in_words = is_word & (words < vocabulary().unknown)
    frequency = np.bincount(tokens.rows, vocabulary().frequency.take(words) * in_words, minlength=captions).astype(np.float64)
    counts = _counts(tokens, structures, forms, words, opens, is_word)
    return Description(structures, forms, buckets.astype(np.int32), counts, frequency)


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


def _counts(
    tokens: Tokens, structures: np.ndarray, forms: np.ndarray, words: np.ndarray, opens: np.ndarray, is_word: np.ndarray
) -> np.ndarray:
    """int32[N, COUNTS]."""
    rows, captions = tokens.rows, len(tokens.first) - 1
    form, known, small = (forms.astype(np.int64) - 1) >> 2, words < vocabulary().unknown, tokens.capitals == 0
    function = (structures > 0) & (structures <= FUNCTION_CLASSES)
    inner, marked, alone = is_word & ~opens, tokens.kind == MARK, tokens.kind == ALONE
    glued, spelled = marked & ~tokens.after_space & ~opens, is_word | alone
    flags = {
        "words": is_word,
        "functions": function,
        "small_functions": function & small,
        "verbs": structures == VERB,
        "persons": structures == PERSON,
        "known": known,
        "unknown_words": is_word & ~known,
        "rare_words": is_word & (vocabulary().frequency.take(words) < RARE),
        "unspaced": alone,
        "inner": inner,
        "inner_capitalised": inner & ((form == 2) | (form == 3)),
        "capitals": form == 3,
        "with_digits": tokens.digits > 0,
        "marks": marked,
        "glued": glued,
        "after_space": tokens.after_space,
        "spelled": spelled,
        "hyphens": glued & (form == 7 + MARKS.index("-")),
        "commas": form == 7 + MARKS.index(","),
    }
    counts = {name: np.bincount(rows[flag], minlength=captions) for name, flag in flags.items()}
    counts["letters"] = np.bincount(rows, tokens.length * is_word, minlength=captions)
    counts["repeated"] = repetitions(tokens, spelled)
    counts["stop_at_end"] = _of_edges(tokens, structures == FIRST_MARK + MARKS.index("."), last=True)
    counts["small_at_first"] = _of_edges(tokens, small, last=False)
    return np.stack([counts[name] for name in COUNTS], axis=1).astype(np.int32)


def _of_edges(tokens: Tokens, flags: np.ndarray, *, last: bool) -> np.ndarray:
    """Whether the flag of each caption's first or last token is true, 0 for a caption without one: int64[N]."""
    values = np.zeros(len(tokens.first) - 1, np.int64)
    present = np.diff(tokens.first) > 0
    values[present] = flags[tokens.first[1:][present] - 1 if last else tokens.first[:-1][present]]
    return values


@lru_cache(1)
def _mark_places() -> np.ndarray:
    """The place of each character in MARKS, len(MARKS) for others: uint8[0x110000]."""
    places = np.full(CODES, len(MARKS), np.uint8)
    places[[ord(mark) for mark in MARKS]] = range(len(MARKS))
    return places
