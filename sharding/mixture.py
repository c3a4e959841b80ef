"""Several datasets as one sequence: which of them gives the sample at a position, in exact proportion to their weights.

The schedule is a table of one period, over which each dataset comes exactly as often as its weight says; any position is looked
up in it. Within the period the counts must stay in proportion too, which rounding n · weight for each dataset does not give: with
three or more, the rounded counts of one n may not add up to n. Tijdeman's rule does: among the datasets that are due, the one
with the earliest deadline comes next. Source: R. Tijdeman, "The chairman assignment problem", Discrete Mathematics 32 (1980).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from infra.compat.errors import RequestError

LONGEST_PERIOD = 100_000


class Mixture:
    """Datasets mixed by weight: after any n positions each has given fewer than one sample more or less than its share of n."""

    def __init__(self, weights: Sequence[float]) -> None:
        self.counts = np.array(whole_weights(weights), dtype=np.int64)
        self.period = int(self.counts.sum())
        self.schedule = tijdeman(self.counts.tolist())
        self._earlier = np.empty_like(self.schedule)  # positions of the same dataset before, in the period
        for number, count in enumerate(self.counts.tolist()):
            self._earlier[self.schedule == number] = np.arange(count)

    def at_many(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The datasets at positions int64[N]: their numbers int64[N], and the positions in their own orders int64[N]."""
        periods, places = np.divmod(np.asarray(positions, dtype=np.int64), self.period)
        numbers = self.schedule[places]
        return numbers, periods * self.counts[numbers] + self._earlier[places]


def whole_weights(weights: Sequence[float]) -> list[int]:
    """The smallest integers in proportion to the weights as they are written (0.1 is a tenth); RequestError names wrong ones."""
    if not weights or not all(0 < weight < float("inf") for weight in weights):
        raise RequestError(f"the weights of datasets must be positive numbers, not {', '.join(map(str, weights)) or 'none'}")
    shares = [Fraction(str(weight)) for weight in weights]
    scale = lcm(*(share.denominator for share in shares))
    numbers = [int(share * scale) for share in shares]
    numbers = [number // gcd(*numbers) for number in numbers]
    if sum(numbers) > LONGEST_PERIOD:
        raise RequestError(
            f"the weights {', '.join(map(str, weights))} have too many digits, or lie too far apart; round them to three digits"
        )
    return numbers


def tijdeman(counts: Sequence[int]) -> np.ndarray:
    """int64[sum of counts]: the numbers i, counts[i] times each, and in any prefix of n within 1 of their share of n."""
    period, slack = sum(counts), max(1, 2 * len(counts) - 2)  # a dataset is due 1 / slack of a sample before its share is whole
    given, schedule = [0] * len(counts), np.empty(period, dtype=np.int64)
    for place in range(period):
        due = [i for i, count in enumerate(counts) if slack * (count * (place + 1) - period * given[i]) >= period]
        schedule[place] = chosen = min(due, key=lambda i: ((given[i] + 1) * slack - 1) / counts[i])
        given[chosen] += 1
    return schedule
