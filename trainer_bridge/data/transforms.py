"""Decoded pictures (uint8[H, W, 3], or of Pillow) → pixels uint8[3, size, size] RGB, channels last in memory.

The random crop is a function of the generator. Where a place for the pixels is given, `out`, they are written there if they are
of its shape and type, and that very array is returned: a copy of them would take as long as the crop itself.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, log

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sharding.resize import cropped

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as InternViT uses them
LOG_RATIO = log(4 / 3)  # the widest crop's


def random_box(width: int, height: int, least_area: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A box (left, top, right, bottom) of at least `least_area` (0 … 1) of a picture, of ratio 3:4 … 4:3."""
    area, ratio = width * height * rng.uniform(least_area, 1.0), exp(rng.uniform(-LOG_RATIO, LOG_RATIO))
    crop_width = max(1, min(width, round((area * ratio) ** 0.5)))
    crop_height = max(1, min(height, round((area / ratio) ** 0.5)))
    left = int(rng.integers(0, width - crop_width + 1))
    top = int(rng.integers(0, height - crop_height + 1))
    return left, top, left + crop_width, top + crop_height


def random_resized_crop(
    picture: np.ndarray | Image.Image,
    size: int,
    least_area: float,
    rng: np.random.Generator,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A random crop of at least `least_area` (0 … 1) of the picture, of ratio 3:4 … 4:3, resized: uint8[3, size, size]."""
    pixels = np.asarray(picture)
    height, width, _ = pixels.shape
    return _resized(pixels, random_box(width, height, least_area, rng), size, out)


def whole(picture: np.ndarray | Image.Image, size: int) -> np.ndarray:
    """The whole picture resized, its ratio not kept: uint8[3, size, size]."""
    pixels = np.asarray(picture)
    height, width, _ = pixels.shape
    return _resized(pixels, (0, 0, width, height), size)


def _resized(pixels: np.ndarray, box: tuple[int, int, int, int], size: int, out: np.ndarray | None = None) -> np.ndarray:
    if out is None:
        return cropped(pixels, box, (size, size)).transpose(2, 0, 1)
    place = out.transpose(1, 2, 0)
    result = cropped(pixels, box, (size, size), place)
    return out if result is place else result.transpose(2, 0, 1)


@lru_cache
def _mean_and_deviation(device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each channel, float32[1, 3, 1, 1]; copied to a device once, as a copy waits for its work."""
    mean, deviation = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return mean, deviation


def normalise(pixels: Tensor) -> Tensor:
    """uint8[B, 3, H, W] → float32[B, 3, H, W] with ImageNet's mean 0 and deviation 1 in each channel."""
    mean, deviation = _mean_and_deviation(pixels.device)
    return (pixels.float() / 255.0 - mean) / deviation
