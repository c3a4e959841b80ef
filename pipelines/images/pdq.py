"""PDQ of pictures: from an average of at most 256 × 256 pixels, which takes a tenth of the time that all of them do."""

from __future__ import annotations

import numpy as np

from filters.duplicates.pdq import LUMA, pdq
from pipelines.images.resize import resized

SIDE = 256  # pixels: four for each point that PDQ samples


def pdq_of_pixels(pixels: np.ndarray) -> tuple[bytes, int]:
    """PDQ and its quality of uint8[H, W, 3]."""
    height, width, _ = pixels.shape
    size = (min(width, SIDE), min(height, SIDE))
    small = pixels if size == (width, height) else resized(pixels, size, cubic=False)
    return pdq(small @ LUMA)
