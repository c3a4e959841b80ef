"""A pair that is near a threshold of `dedup`, and the rows among which such pairs are searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipelines.corpus import evaluation_agreement, evaluation_embeddings
from pipelines.corpus.settings import DedupSettings
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import fingerprint_of

LOOK, AGREEMENT, EMBEDDING = "look", evaluation_agreement.TIER, evaluation_embeddings.TIER
SHARES = (LOOK, AGREEMENT, EMBEDDING)  # kinds of which more is nearer: a share that agrees, or a cosine


class DoubtfulPair(NamedTuple):
    """A sample and what it may repeat: another sample, or where `set` is named an item of an evaluation set.

    kind       a kind of copies, a tier of evaluation sets, or `look`: what a hash matched, by the share that agrees
    value      what is compared with the threshold: bits, a share or a cosine
    agreement  of a match by hash, where it was looked at
    """

    kind: str
    threshold: float
    value: float
    sample: int
    other: int | str
    set: str = ""
    agreement: float | None = None

    @property
    def is_match(self) -> bool:
        """Whether it is within the threshold."""
        return self.value >= self.threshold if self.kind in SHARES else self.value <= self.threshold


def thresholds(settings: DedupSettings) -> dict[str, float]:
    """The threshold of each kind that has one."""
    known: dict[str, float | None] = {
        "pixels": settings.pixel_distance,
        "pair": settings.distance,
        "pdq": settings.eval_pdq_distance,
        "both": settings.eval_both_distances[1],
        "phash": settings.eval_distance,
        "published": settings.eval_distance,
        LOOK: settings.eval_hash_agreement or None,
        AGREEMENT: settings.eval_agreement,
        EMBEDDING: settings.eval_cosine,
    }
    return {kind: value for kind, value in known.items() if value is not None}


def sampled(parts: Sequence[Part], rows: int) -> Iterator[Part]:
    """Parts in an order that depends on their names alone, until they have so many rows."""
    for part in sorted(parts, key=lambda part: fingerprint_of({"part": str(part)})):
        yield part
        rows -= part.rows
        if rows <= 0:
            return
