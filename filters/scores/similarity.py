"""CLIP similarity: the cosine of two embeddings."""

from __future__ import annotations

import numpy as np


def similarity(pictures: np.ndarray, captions: np.ndarray) -> np.ndarray:
    """Row by row cosine of float32[N, D] and float32[N, D], both L2-normalised: float32[N]."""
    cosine: np.ndarray = np.einsum("nd,nd->n", pictures, captions).astype(np.float32)
    return cosine
