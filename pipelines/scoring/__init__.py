"""Scoring a part's pictures: one file per score.

To add a score: write a module here, or a plugin, with `SCORES`. Its name is the column of the family `scores` that it fills.

score.py        what a score is
clip.py         CLIP similarity, by an open_clip model or one in ONNX; the embeddings that other scores read
checkpoints.py  weights by path or URI, with their sha256; never a pickle
chunks.py       pictures of a chunk, decoded ahead of the models → scores
settings.py     settings of `score`
*.py            a score, as its first line says
"""

from __future__ import annotations

from typing import Any

from infra.compat.errors import RequestError, nearest
from pipelines.runtime.plugins import defined_in, with_plugins
from pipelines.scoring import clip
from pipelines.scoring.score import Score
from pipelines.scoring.settings import ScoreSettings


def scores() -> dict[str, Score]:
    """All scores by name: those of the modules here, and of plugins; RequestError when a plugin's repeats a name."""
    ours: list[Score] = defined_in(__name__, "SCORES")
    return {score.name: score for score in with_plugins(ours, "SCORES", Score, "name")}


def embedding_provenance(settings: ScoreSettings) -> dict[str, Any] | None:
    """What kept embeddings depend on: the CLIP and their type; None where none are kept, RequestError without a CLIP."""
    if not settings.embeddings:
        return None
    made_by = clip.provenance(settings)
    if made_by is None:
        raise RequestError("score.embeddings keeps CLIP's embeddings of pictures; set score.clip_model and its checkpoint too")
    return {"clip": made_by, "dtype": settings.embeddings}


def provenance(settings: ScoreSettings) -> dict[str, Any]:
    """Name → provenance of the scores that the settings name a model for: the settings that results depend on.

    RequestError when there are none, or a model or a score's own settings are wrong.
    """
    known = scores()
    for name in settings.by_score:
        if name not in known:
            raise RequestError(f"score.by_score.{name} is no score; {nearest(name, known)}")
        settings.own(name, known[name].settings)
    made_by = {name: score.provenance(settings) for name, score in known.items()}
    chosen = {name: dict(models) for name, models in made_by.items() if models is not None}
    if not chosen:
        raise RequestError("no score has a model; set score.clip_model, score.watermark_model or score.unsafe")
    return chosen
