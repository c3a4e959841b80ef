"""Embeddings of pictures and captions by any open_clip model; their cosine is the CLIP similarity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

THREADS = 8  # that prepare pictures for a GPU; a worker without one has a single core


class ClipScore:
    """An open_clip model with its preprocessing and tokenizer, on a device."""

    def __init__(
        self, model: Any, preprocess: Callable[[Image.Image], Tensor], tokenize: Callable[[list[str]], Tensor], device: str
    ) -> None:
        self.model, self.preprocess, self.tokenize, self.device = model.eval().to(device), preprocess, tokenize, device
        self.pool = ThreadPoolExecutor(1 if device == "cpu" else THREADS, "prepare")
        if device != "cpu":
            torch.set_num_threads(1)  # else each of them would start as many as there are cores

    def embed_pictures(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """RGB pictures → float32[N, D], L2-normalised."""
        pixels = torch.stack(list(self.pool.map(self.preprocess, pictures))).to(self.device)
        with torch.inference_mode():
            return _normalised(self.model.encode_image(pixels))

    def embed_captions(self, captions: Sequence[str]) -> np.ndarray:
        """Captions → float32[N, D], L2-normalised."""
        tokens = self.tokenize(list(captions)).to(self.device)
        with torch.inference_mode():
            return _normalised(self.model.encode_text(tokens))


def _normalised(features: Tensor) -> np.ndarray:
    unit: np.ndarray = F.normalize(features.float(), dim=-1).cpu().numpy()
    return unit
