"""The aesthetic score: a linear head on the embedding of the settings' CLIP. Source: LAION-Aesthetics V1."""

from __future__ import annotations

from typing import Any

import numpy as np

from infra.compat.errors import RequestError
from pipelines.scoring import clip
from pipelines.scoring.checkpoints import checkpoint
from pipelines.scoring.score import Batch, Score, Scorer
from pipelines.scoring.settings import ScoreSettings


def _provenance(settings: ScoreSettings) -> dict[str, Any] | None:
    if not settings.aesthetic_checkpoint:
        return None
    embedding = clip.provenance(settings)
    if embedding is None:
        raise RequestError(
            "score.aesthetic_checkpoint is a head on CLIP's embedding; set score.clip_model and its checkpoint too"
        )
    head = checkpoint("score.aesthetic_checkpoint", settings.aesthetic_checkpoint).sha256
    return {"model": f"linear on {settings.clip_model}", "sha256": head, "clip": embedding["sha256"]}


def _load(settings: ScoreSettings, device: str) -> Scorer:
    from filters.scores.aesthetic import aesthetic

    width = clip.load_clip(settings, device).embed_captions(["x"]).shape[1]
    weight, bias = load_head(settings.aesthetic_checkpoint, width)

    def score(batch: Batch) -> np.ndarray:
        assert batch.embeddings is not None  # provenance requires a CLIP
        return aesthetic(batch.embeddings, weight, bias)

    return score


def load_head(uri: str, width: int) -> tuple[np.ndarray, float]:
    """Weight float32[width] and bias of the head; RequestError when it is for another width."""
    from safetensors.numpy import load_file

    state = load_file(checkpoint("score.aesthetic_checkpoint", uri).path)
    if set(state) != {"weight", "bias"} or state["weight"].size != width or state["bias"].size != 1:
        tensors = ", ".join(f"{name}{list(value.shape)}" for name, value in sorted(state.items()))
        raise RequestError(
            f"score.aesthetic_checkpoint holds {tensors}; for this CLIP it must hold weight[1, {width}] and bias[1]"
        )
    return state["weight"].reshape(-1).astype(np.float32), float(state["bias"].reshape(-1)[0])


SCORES = [Score("aesthetic", _provenance, _load)]
