"""Watermark probability by a timm classifier, as LAION's detector is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def watermark(
    model: Any, preprocess: Callable[[Image.Image], Tensor], pictures: Sequence[Image.Image], index: int, device: str
) -> np.ndarray:
    """Softmax probability of class `index` for each RGB picture: float32[N]."""
    pixels = torch.stack([preprocess(picture) for picture in pictures]).to(device)
    with torch.inference_mode():
        probability: np.ndarray = model(pixels).float().softmax(dim=-1)[:, index].cpu().numpy()
    return probability
