"""Samples that cannot be trained on: named, counted, and too many of them end a training."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from infra.compat.errors import RequestError

NAMED = 20  # faults that are written to stderr
FEW_FAULTS = 100  # that end no training, whatever their share of the first samples


class FaultLimit:
    """Counts `samples` that were delivered and how many `faults` are among them; `most` is the share that may be, 0: none.

    mend  what a person can do about more, as "check …, or raise data.max_faults"
    """

    def __init__(self, most: float, mend: str) -> None:
        self.most, self.mend = most, mend
        self.samples, self.faults = 0, 0

    def count(self, samples: int, faults: Sequence[str]) -> None:
        """Adds a batch and names its faults; RequestError where there are too many by now."""
        for fault in faults[: max(0, NAMED - self.faults)]:
            sys.stderr.write(f"loader     skipped {fault}\n")
        self.samples, self.faults = self.samples + samples, self.faults + len(faults)
        if self.faults > (FEW_FAULTS if self.most else 0) + self.most * self.samples:
            raise RequestError(
                f"{self.faults:,} of {self.samples:,} samples could not be loaded, the last of them {faults[-1]}; {self.mend}"
            )
