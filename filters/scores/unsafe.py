"""Unsafe probability by OpenNSFW (Yahoo's ResNet, as ONNX): the score COYO publishes as nsfw_score_opennsfw2."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

SIDE, CROP = 256, 224
BGR_MEAN = np.array([104, 117, 123], dtype=np.float32)


def prepare(picture: Image.Image) -> np.ndarray:
    """An RGB picture in the form that the network was trained on: float32[224, 224, 3], BGR less the mean.

    Squashed to 256², saved as JPEG once (the network is sensitive to it), centre-cropped.
    """
    data = io.BytesIO()
    picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(data, "JPEG")
    edge = (SIDE - CROP) // 2
    pixels = np.asarray(Image.open(data).convert("RGB"), dtype=np.float32)[edge : edge + CROP, edge : edge + CROP]
    return pixels[:, :, ::-1] - BGR_MEAN


def prepare_pixels(pixels: np.ndarray) -> np.ndarray:
    """As `prepare`, of pixels uint8[H, W, 3]."""
    return prepare(Image.fromarray(pixels))


def unsafe(session: Any, pictures: Sequence[Image.Image]) -> np.ndarray:
    """Probability in 0 … 1 for each RGB picture: float32[N]. `session` is an onnxruntime session of OpenNSFW."""
    return unsafe_pixels(session, [prepare(picture) for picture in pictures])


def unsafe_pixels(session: Any, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """As `unsafe`, of prepared pictures."""
    pixels = np.stack(inputs)
    (scores,) = session.run(None, {session.get_inputs()[0].name: pixels})
    probability: np.ndarray = scores[:, 1].astype(np.float32)
    return probability
