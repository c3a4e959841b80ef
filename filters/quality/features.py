"""A caption as rows of tokens and a few statistics: all that the model reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from filters.quality.describe import COUNTS, Description, describe
from filters.text.characters import codes_of
from filters.text.tokens import tokens_of
from filters.text.vocabulary import vocabulary

LONGEST = 48  # tokens of a caption that are read

STATISTICS = {
    "completeness": ("function_words", "function_share", "small_function_share", "verbs", "persons", "full_stop", "small_first"),
    "fluency": ("known_share", "unknown_share", "rare_share", "frequency", "word_length"),
    "information": ("unspaced_share",),
    "style": ("capitalised_share", "capitals_share", "digit_share", "mark_share", "glued_share", "space_share"),
    "repetition": ("repeated_share", "hyphens", "comma_share", "log_tokens", "tokens", "words"),
}
PARTS = tuple(STATISTICS)


@dataclass(frozen=True)
class Features:
    """What the model reads of N captions with T tokens, of each at most LONGEST.

    first       where each caption's tokens begin: int64[N + 1]
    structures  uint8[T], below STRUCTURES
    forms       uint8[T], below FORMS
    words       rows of the vocabulary: int32[T]
    buckets     of characters of scripts without spaces, 0 for other tokens: int32[T]
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
    described = describe(tokens, codes, words)
    statistics = _statistics(described, np.diff(tokens.first).astype(np.float32))
    read, first = _read(tokens.first)
    return Features(first, described.structures[read], described.forms[read], words[read], described.buckets[read], statistics)


def _read(first: np.ndarray) -> tuple[np.ndarray | slice, np.ndarray]:
    """Which tokens are read, and where each caption's begin among them."""
    counts = np.diff(first)
    if not (counts > LONGEST).any():
        return slice(None), first
    place = np.arange(first[-1]) - np.repeat(first[:-1], counts)
    return np.flatnonzero(place < LONGEST), np.concatenate([np.zeros(1, np.int64), np.cumsum(np.minimum(counts, LONGEST))])


def _statistics(described: Description, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """float32[N, S] for each part, given the number of tokens of each caption."""
    count = dict(zip(COUNTS, described.counts.T.astype(np.float32), strict=True))
    of_tokens, of_words = np.maximum(tokens, 1), np.maximum(count["words"], 1)
    values = {
        "function_words": count["functions"],
        "function_share": count["functions"] / of_words,
        "small_function_share": count["small_functions"] / of_words,
        "verbs": count["verbs"],
        "persons": count["persons"],
        "full_stop": count["stop_at_end"],
        "small_first": count["small_at_first"],
        "known_share": count["known"] / of_tokens,
        "unknown_share": count["unknown_words"] / of_words,
        "rare_share": count["rare_words"] / of_words,
        "frequency": described.frequency.astype(np.float32) / of_words,
        "word_length": count["letters"] / of_words,
        "unspaced_share": count["unspaced"] / of_tokens,
        "capitalised_share": count["inner_capitalised"] / np.maximum(count["inner"], 1),
        "capitals_share": count["capitals"] / of_words,
        "digit_share": count["with_digits"] / of_tokens,
        "mark_share": count["marks"] / of_tokens,
        "glued_share": count["glued"] / of_tokens,
        "space_share": count["after_space"] / of_tokens,
        "repeated_share": count["repeated"] / np.maximum(count["spelled"], 1),
        "hyphens": np.minimum(count["hyphens"], 6),
        "comma_share": np.minimum(count["commas"], 12) / of_words,
        "log_tokens": np.log1p(tokens),
        "tokens": np.minimum(tokens, 60),
        "words": np.minimum(count["words"], 50),
    }
    return {part: np.stack([values[name] for name in names], axis=1).astype(np.float32) for part, names in STATISTICS.items()}
