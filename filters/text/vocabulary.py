"""What is known of single words in some thirty languages: class of function words, frequency, how English, a vector of meaning.

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
FIRST_BITS = np.uint64(64 - 18)
ENGLISH_STEPS = 16.0
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

    keys       `filters.text.tokens.keys_of` the words, and a last one that no word has: uint64[V + 1]
    starts     of each value of a key's first bits, where keys with it begin: int32[2 ** 18]
    classes    place in `CLASSES` + 1, 0 for none: uint8[V + 1]
    english    log of how much likelier it is in English than in the other language that has it most, 0 unknown: float32[V + 1]
    frequency  Zipf scale, log10 of how often in a billion words, 0 unknown: float32[V + 1]
    vectors    in steps of 1 / VECTOR_STEPS, 0 unknown: int8[V + 1, DIM]
    """

    keys: np.ndarray
    starts: np.ndarray
    classes: np.ndarray
    english: np.ndarray
    frequency: np.ndarray
    vectors: np.ndarray

    def places(self, keys: np.ndarray) -> np.ndarray:
        """The row of each word by its key (uint64[T]), V for those that are not known: int32[T].

        Keys are evenly spread, so the first bits of one tell where it stands but for a few places.
        """
        places = self.starts.take(keys >> FIRST_BITS)
        behind = np.flatnonzero(self.keys.take(places) < keys)
        while len(behind):
            places[behind] += 1
            behind = behind[self.keys.take(places[behind]) < keys[behind]]
        places[self.keys.take(places) != keys] = self.unknown
        return places

    @property
    def unknown(self) -> int:
        """The row of words that are not known: V."""
        return len(self.keys) - 1


@lru_cache(1)
def vocabulary() -> Vocabulary:
    """The vocabulary that this package holds."""
    stored = load_file(PATH)
    english, frequency = (
        _with_unknown(stored[name]) / np.float32(steps) for name, steps in (("english", ENGLISH_STEPS), ("frequency", STEPS))
    )
    classes, vectors = _with_unknown(stored["classes"]), _with_unknown(stored["vectors"])
    keys = np.append(stored["keys"], np.uint64(2**64 - 1))
    starts = np.searchsorted(keys, np.arange(1 << 18, dtype=np.uint64) << FIRST_BITS).astype(np.int32)
    return Vocabulary(keys, starts, classes, english, frequency, vectors)


def _with_unknown(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, np.zeros_like(values[:1])])
