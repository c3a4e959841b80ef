"""What ends a training that has diverged: too many steps in a row without a finite gradient, or weights that are not finite."""

from __future__ import annotations


class TrainingFault(Exception):
    """The training cannot go on; the message says why, in one line. It ends with exit status 1, the last saved state intact."""


class SkippedSteps:
    """Counts the steps that were skipped, as their loss or gradient was NaN or infinite; all ranks count the same."""

    def __init__(self, limit: int) -> None:
        self.limit, self.in_a_row = limit, 0

    def count(self, step: int, skipped: bool) -> None:
        """TrainingFault when as many as the limit were skipped in a row."""
        self.in_a_row = self.in_a_row + 1 if skipped else 0
        if self.in_a_row >= self.limit:
            raise TrainingFault(
                f"loss or gradient was not finite in {self.limit} steps in a row, the last of them step {step}; weights are as "
                "before these; lower the learning rate or optimizer.clip_norm, or look for broken samples"
            )


def require_finite(weights_are_finite: bool, step: int) -> None:
    """TrainingFault when the weights after a step are not finite, before anything is written over what is."""
    if not weights_are_finite:
        raise TrainingFault(
            f"weights are not finite after step {step} and were not saved; lower the learning rate, and go on from the state "
            "saved before"
        )
