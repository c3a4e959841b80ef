"""Hashes under which copies meet."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SIDE, LOW = 32, 8


def _cosines() -> np.ndarray:
    k, n = np.arange(LOW)[:, None], np.arange(SIDE)[None, :]
    return np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE)).astype(np.float32)


COSINES = _cosines()


def perceptual_hash(grey: np.ndarray) -> int:
    """64-bit pHash of grey[32, 32] (any real dtype): signs of the 8 × 8 lowest DCT coefficients against their median.

    The constant term only says how bright the picture is; its bit is always 0.
    """
    low = COSINES @ grey.astype(np.float32) @ COSINES.T
    flat = low.ravel()
    bits = flat > np.median(flat[1:])
    bits[0] = False
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def caption_key(captions: pa.ChunkedArray) -> pa.ChunkedArray:
    """Captions with case, width, punctuation and spacing folded away, so that equal words are equal strings: string[N]."""
    folded = pc.utf8_lower(pc.utf8_normalize(captions, "NFKC"))
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(folded, r"[\s\pP\pS]+", " "))
