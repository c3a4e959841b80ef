"""Embeddings of pictures and captions by a CLIP of PyTorch; their cosine is the CLIP similarity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class Clip(Protocol):
    """A CLIP of any library. What makes pictures and captions ready is for several threads."""

    @property
    def needed(self) -> int:
        """The sides in pixels that a picture should have before it is prepared; 0: all that it has."""

    @property
    def preprocessing(self) -> str:
        """How pictures are prepared, in words."""

    def prepare(self, pixels: np.ndarray, /) -> np.ndarray:
        """A picture uint8[H, W, 3] → the pixels that the model takes of it."""

    def tokenise(self, caption: str, /) -> np.ndarray:
        """A caption → its tokens, int64[T]."""

    def embed_pixels(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """Prepared pictures → float32[N, D], L2-normalised."""

    def embed_tokens(self, tokens: Sequence[np.ndarray]) -> np.ndarray:
        """Tokens of captions → float32[N, D], L2-normalised."""


@dataclass
class TorchClip:
    """A CLIP of PyTorch on a device.

    encode_image  pixels [N, 3, S, S], less the mean and over the deviation → features [N, D]
    encode_text   tokens int64[N, T] → features [N, D]
    mean, std     of the channels, of pixels in 0 … 1; for prepared pixels that are 8-bit, not for those that are floats already
    half          bfloat16 wherever PyTorch thinks it precise enough (autocast)
    """

    encode_image: Callable[[Tensor], Tensor]
    encode_text: Callable[[Tensor], Tensor]
    needed: int
    preprocessing: str
    prepare: Callable[[np.ndarray], np.ndarray]
    tokenise: Callable[[str], np.ndarray]
    mean: Sequence[float]
    std: Sequence[float]
    device: str = "cpu"
    half: bool = False

    def embed_pixels(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """Prepared pictures, uint8[S, S, 3] or float32[3, S, S] each → float32[N, D], L2-normalised."""
        batch = torch.from_numpy(np.stack(pixels)).to(self.device)
        with torch.inference_mode(), self._precision():
            return _normalised(self.encode_image(self._floats(batch) if batch.dtype == torch.uint8 else batch))

    def embed_tokens(self, tokens: Sequence[np.ndarray]) -> np.ndarray:
        """Tokens int64[T] of captions → float32[N, D], L2-normalised."""
        batch = torch.from_numpy(np.stack(tokens)).to(self.device)
        with torch.inference_mode(), self._precision():
            return _normalised(self.encode_text(batch))

    def _floats(self, pixels: Tensor) -> Tensor:
        mean, std = (torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std

    def _precision(self) -> AbstractContextManager[Any]:
        kind = torch.device(self.device).type
        precision: AbstractContextManager[Any] = torch.autocast(kind, dtype=torch.bfloat16, enabled=self.half)
        return precision


def _normalised(features: Tensor) -> np.ndarray:
    unit: np.ndarray = F.normalize(features.float(), dim=-1).cpu().numpy()
    return unit
