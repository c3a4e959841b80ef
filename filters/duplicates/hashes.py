"""Hashes that copies share: perceptual hashes of pictures, keys of captions, digests of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE, LOW = 32, 8
BATCH = 1 << 14  # rows: their text fits in the processor's cache


def _cosines() -> np.ndarray:
    k, n = np.arange(LOW)[:, None], np.arange(SIDE)[None, :]
    return np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE)).astype(np.float32)


COSINES = _cosines()


def perceptual_hashes(greys: np.ndarray) -> np.ndarray:
    """64-bit pHash of each of grey[N, 32, 32] (any real dtype): uint64[N], the signs of the 8 × 8 lowest DCT coefficients
    against their median.

    The constant term is only the brightness of the picture; its bit is always 0.
    """
    low = COSINES @ greys.astype(np.float32) @ COSINES.T
    flat = low.reshape(len(greys), LOW * LOW)
    middle = LOW * LOW // 2 - 1
    bits = flat > np.sort(flat[:, 1:])[:, middle : middle + 1]  # the median of 63, in a tenth of np.median's time
    bits[:, 0] = False
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def without_brightness(hashes: pa.ChunkedArray) -> pa.ChunkedArray:
    """64-bit pHashes of other programs (ImageHash, COYO), uint64[N], as ours: without the bit of the constant term.

    That the median is taken of 64 terms there and of 63 here changes no other bit, as the constant term is the largest.
    """
    return pc.bit_wise_and(hashes, pa.scalar((1 << 63) - 1, pa.uint64()))


@dataclass(frozen=True)
class PictureHash:
    """A hash of a picture's looks: a small Hamming distance where two pictures look alike.

    column  of the manifest that holds it; "" where none does: then it is computed from the stored pictures
    side    of the grey squares it is computed from, in pixels
    of      grey[N, side, side] (any real dtype) -> uint64[N]
    """

    column: str
    side: int
    of: Callable[[np.ndarray], np.ndarray]

    def of_images(self, images: Sequence[Image]) -> np.ndarray:
        """The hashes of N RGB pictures of any size: uint64[N]."""
        from PIL.Image import Resampling  # not where only captions are hashed

        size = (self.side, self.side)
        return self.of(np.stack([np.asarray(image.convert("L").resize(size, Resampling.BOX)) for image in images]))


FETCHED_HASH = PictureHash("phash", SIDE, perceptual_hashes)  # fetch computes it of every picture
PICTURE_HASH = FETCHED_HASH  # near pictures are searched by it


def caption_key(captions: pa.ChunkedArray) -> pa.ChunkedArray:
    """Captions without case, width, punctuation and spacing, so that the same words give the same string: string[N]."""
    folded = pc.utf8_lower(pc.utf8_normalize(captions, "NFKC"))
    return pc.utf8_trim_whitespace(pc.replace_substring_regex(folded, r"[\s\pP\pS]+", " "))


def hash_rows(digest: Callable[[bytes], int], separator: str, *columns: pa.ChunkedArray) -> np.ndarray:
    """`digest` (of at most 64 bits) of the values of each row, joined by `separator`, as UTF-8: uint64[N]. No value is NULL."""
    rows = len(columns[0])
    hashes = np.empty(rows, dtype=np.uint64)
    for first in range(0, rows, BATCH):
        batch = [column.slice(first, BATCH) for column in columns]
        joined = pc.binary_join_element_wise(*batch, separator).cast(pa.binary()).to_numpy()
        hashes[first : first + len(joined)] = np.fromiter(map(digest, joined), np.uint64, len(joined))
    return hashes
