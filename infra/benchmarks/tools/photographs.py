"""Pictures with the entropy of photographs: noise whose amplitude falls with its frequency, as that of natural scenes does."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

SIDE = 512
FALL = 1.4  # of amplitude with frequency; a JPEG of quality 85 then takes about 60 kB


def photograph(seed: int, side: int = SIDE) -> bytes:
    """A JPEG of side x side, quality 85."""
    rng = np.random.default_rng(seed)
    frequencies = np.fft.fftfreq(side)
    distance = np.hypot(frequencies[:, None], frequencies)
    distance[0, 0] = np.inf
    amplitude = distance**-FALL
    grey, *tints = (np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) * amplitude).real for _ in range(4))
    channels = [128 + 45 * _unit(grey) + 18 * _unit(tint) for tint in tints]
    sink = io.BytesIO()
    Image.fromarray(np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)).save(sink, "JPEG", quality=85)
    return sink.getvalue()


def _unit(values: np.ndarray) -> np.ndarray:
    return np.asarray((values - values.mean()) / values.std())
