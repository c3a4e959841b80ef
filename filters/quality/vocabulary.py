"""What is known of single words in some thirty languages: the class of function words, frequency, and a vector of meaning.

Made by `python -m infra.train_models vocabulary`; sources in infra/models/quality/README.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

PATH = Path(__file__).parent / "vocabulary.safetensors"
STEPS = 20.0  # frequency is stored in steps of 1/20
VECTOR_STEPS = 63.5  # and the parts of vectors in steps of 1/63.5
# The classes of words in infra/models/quality/words.txt, numbered from 1; 0 is none.
CLASSES = (
    "article",
    "determiner",
    "possessive_third",
    "preposition_place",
    "preposition",
    "conjunction",
    "relative",
    "copula",
    "auxiliary",
    "first_second_person",
    "third_person",
    "question",
    "negation_and_judgement",
    "person",
    "animal",
    "scene",
    "colour",
    "verb_scene",
    "media",
    "shop",
    "web",
    "work_title",
    "time",
    "credit",
)


@dataclass(frozen=True)
class Vocabulary:
    """The V words, in the order of their keys, and behind them a row for all others.

    keys       `filters.text.tokens.keys_of` the words: uint64[V]
    classes    place in `CLASSES` + 1, 0 for none: uint8[V + 1]
    frequency  Zipf scale, log10 of how often in a billion words, 0 unknown: float32[V + 1]
    vectors    float32[V + 1, DIM], about -2 … 2, 0 unknown
    """

    keys: np.ndarray
    classes: np.ndarray
    frequency: np.ndarray
    vectors: np.ndarray

    def places(self, keys: np.ndarray) -> np.ndarray:
        """The row of each word by its key (uint64[T]), V for those that are not known: int64[T]."""
        places = np.searchsorted(self.keys, keys)
        places[self.keys.take(places, mode="clip") != keys] = len(self.keys)
        return places


@lru_cache(1)
def vocabulary() -> Vocabulary:
    """The vocabulary that this package holds."""
    stored = load_file(PATH)
    classes, frequency, vectors = (_with_unknown(stored[name]) for name in ("classes", "frequency", "vectors"))
    return Vocabulary(stored["keys"], classes, frequency / np.float32(STEPS), vectors / np.float32(VECTOR_STEPS))


def _with_unknown(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, np.zeros_like(values[:1])])
