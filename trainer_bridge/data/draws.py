"""Random generators of samples, each a function of (seed, position) alone, made for many samples at once.

NumPy's own seeding takes as long as everything else that a loader does for a sample but to decode it: here the 256 bits of state
of each PCG64 come from a hash of seed and position, computed for all by one call.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.random import PCG64, Generator
from numpy.random.bit_generator import ISeedSequence

from sharding.order import mix

WORDS = 4  # of 64 bits, that a PCG64 starts from


class _Words(ISeedSequence):
    """Words uint64[WORDS] as they are."""

    def __init__(self, words: np.ndarray) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        """What a bit generator asks for."""
        return self.words


def generators(seed: int, positions: np.ndarray) -> list[Generator]:
    """A generator for each of the positions int64[N]."""
    numbers = np.asarray(positions, np.int64)[:, None] * WORDS + np.arange(WORDS)
    return [Generator(PCG64(cast(Any, _Words(words)))) for words in mix(numbers.astype(np.uint64), seed)]
