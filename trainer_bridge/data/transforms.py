"""Decoded images → pixels: uint8[3, size, size] RGB, channels last in memory. The random crop is a function of the generator."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as InternViT uses them


def random_resized_crop(image: Image.Image, size: int, least_area: float, rng: np.random.Generator) -> np.ndarray:
    """A random crop of at least `least_area` (0 … 1) of the picture, of ratio 3:4 … 4:3, resized: uint8[3, size, size]."""
    area = image.width * image.height * rng.uniform(least_area, 1.0)
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    width = min(image.width, round((area * ratio) ** 0.5))
    height = min(image.height, round((area / ratio) ** 0.5))
    left = int(rng.integers(0, image.width - width + 1))
    top = int(rng.integers(0, image.height - height + 1))
    return _pixels(image, (left, top, left + max(1, width), top + max(1, height)), size)


def whole(image: Image.Image, size: int) -> np.ndarray:
    """The whole picture resized, its ratio not kept: uint8[3, size, size]."""
    return _pixels(image, (0, 0, image.width, image.height), size)


def _pixels(image: Image.Image, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    resized = image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    return np.array(resized).transpose(2, 0, 1)


@lru_cache
def _mean_and_deviation(device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each channel, float32[1, 3, 1, 1]; copied to a device once, as a copy waits for its work."""
    mean, deviation = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return mean, deviation


def normalise(pixels: Tensor) -> Tensor:
    """uint8[B, 3, H, W] → float32[B, 3, H, W] with ImageNet's mean 0 and deviation 1 in each channel."""
    mean, deviation = _mean_and_deviation(pixels.device)
    return (pixels.float() / 255.0 - mean) / deviation
