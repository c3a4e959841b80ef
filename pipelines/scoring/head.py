"""Heads on CLIP's embedding: loaded from safetensors, computed from the embeddings of the same pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from filters.scores.heads import head_of
from infra.compat.errors import RequestError
from pipelines.scoring import clip
from pipelines.scoring.checkpoints import checkpoint_of
from pipelines.scoring.score import Batch, Scorer
from pipelines.scoring.settings import ScoreSettings, Weights


def head_provenance(settings: ScoreSettings, setting: Weights, name: str) -> dict[str, Any]:
    """What a head's scores depend on; RequestError without a CLIP."""
    embedding = clip.provenance(settings)
    if embedding is None:
        raise RequestError(f"score.{setting} is a head on CLIP's embedding; set score.clip_model and its checkpoint too")
    of_clip = {key: value for key, value in embedding.items() if key != "model"}
    head = checkpoint_of(settings, setting).sha256
    return {"model": f"{name} on {settings.clip_model}", "sha256": head, "clip": of_clip.pop("sha256"), **of_clip}


def head_scorer(settings: ScoreSettings, setting: Weights, kind: str, device: str) -> Scorer:
    """The head as a scorer of embeddings; RequestError when the file holds no head of the kind for this CLIP."""
    from safetensors.numpy import load_file

    loaded = clip.load_clip(settings, device)
    width = loaded.embed_tokens([loaded.tokenise("x")]).shape[1]
    state = load_file(checkpoint_of(settings, setting).path)
    head = head_of(state, kind)
    if head is None or head.width != width:
        tensors = ", ".join(f"{name}{list(value.shape)}" for name, value in sorted(state.items())[:4])
        raise RequestError(
            f"score.{setting} holds {tensors}; for this CLIP it must hold weight[1, {width}] and bias[1], or one of LAION's "
            f"heads that filters.scores.heads names, whose first layer takes {width} numbers"
        )

    def score(batch: Batch) -> np.ndarray:
        assert batch.embeddings is not None  # provenance requires a CLIP
        return head(batch.embeddings)

    return score
