"""The aesthetic score: a linear head on a CLIP embedding, about 0 … 10. Source: LAION-Aesthetics V1."""

from __future__ import annotations

import numpy as np


def aesthetic(embeddings: np.ndarray, weight: np.ndarray, bias: float) -> np.ndarray:
    """Embeddings float32[N, D], L2-normalised; weight float32[D] → float32[N]."""
    score: np.ndarray = (embeddings @ weight + bias).astype(np.float32)
    return score
