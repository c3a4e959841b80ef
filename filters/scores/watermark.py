"""Watermark probability by a timm classifier, as LAION's detector is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def prepare(preprocess: Callable[[Image.Image], Tensor], pixels: np.ndarray) -> np.ndarray:
    """A picture uint8[H, W, 3] as the classifier takes it: float32[3, S, S]."""
    prepared: np.ndarray = preprocess(Image.fromarray(pixels)).numpy()
    return prepared


def watermark(model: Any, inputs: Sequence[np.ndarray], index: int, device: str, half: bool) -> np.ndarray:
    """Softmax probability of class `index` for each prepared picture: float32[N]."""
    pixels = torch.from_numpy(np.stack(inputs)).to(device)
    with torch.inference_mode(), torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=half):
        logits = model(pixels)
    probability: np.ndarray = logits.float().softmax(dim=-1)[:, index].cpu().numpy()
    return probability
