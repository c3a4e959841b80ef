"""The aesthetic score: LAION's heads on the embedding of the settings' CLIP, linear (V1) or of five layers (V2)."""

from __future__ import annotations

from typing import Any

from filters.scores.heads import AESTHETIC
from pipelines.scoring.head import head_provenance, head_scorer
from pipelines.scoring.score import Score, Scorer
from pipelines.scoring.settings import ScoreSettings


def _provenance(settings: ScoreSettings) -> dict[str, Any] | None:
    return head_provenance(settings, "aesthetic_checkpoint", "linear") if settings.aesthetic_checkpoint else None


def _load(settings: ScoreSettings, device: str) -> Scorer:
    return head_scorer(settings, "aesthetic_checkpoint", AESTHETIC, device)


SCORES = [Score("aesthetic", _provenance, _load, reads_pictures=False)]
