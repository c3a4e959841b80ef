"""The share of each source to keep: the paper's, or what --target says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from filters.reference import TABLE_2
from infra.compat.errors import RequestError, nearest
from pipelines.calibration.stages import Stage
from pipelines.sources import sources


def targets_of(given: Sequence[str], totals: Mapping[str, int], stage: Stage) -> dict[str, float | None]:
    """Source → share to keep, of a source that --target does not name the paper's; None where the stage leaves it whole.

    RequestError for a share or source that cannot be, and where no source has a share.
    """
    titles = {name: source.title for name, source in sources().items()}
    targets = {name: stage.paper(TABLE_2[titles[name]]) for name in totals if titles.get(name) in TABLE_2}
    for text in given:
        name, share = _parsed(text)
        if name and name not in totals:
            raise RequestError(f"--target {text!r} names no ingested source; {nearest(name, totals)}")
        targets |= {name: share} if name else dict.fromkeys(totals, share)
    if not targets:
        raise RequestError("the paper has no retention for these sources; give one with --target")
    return targets


def _parsed(text: str) -> tuple[str, float]:
    """(source, share) of `source=share`; an empty source of a share alone."""
    name, equals, share = text.rpartition("=")
    try:
        value = float(share)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1 or (equals and not name):
        raise RequestError(f"--target {text!r} is no share between 0 and 1; write 0.84 or laion2b-en=0.84")
    return name, value
