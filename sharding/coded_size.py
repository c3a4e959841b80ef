"""Whether a picture is as large as its file says, for files that say it twice: in the container, and in the coded picture.

Decoders believe one of the two and scale, cut or fill without a word, so that a small picture would be stored as a large one, or
a large one be decoded in the memory of a small one. PNG, GIF, BMP, plain JPEG and WebP say their size once: where their data
holds more rows than that, all decoders show the picture as far as its size says, and where it holds fewer, it is truncated. Of a
HEIC libheif compares the two.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from PIL import Image

from sharding.avif_sizes import avif_sizes

Size = tuple[int, int]  # width, height
# Tags of TIFF.
WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, BITS, PLANES = 256, 257, 259, 262, 258, 284
STRIPS, STRIP_BYTES, STRIP_ROWS, TILES, TILE_WIDTH, TILE_HEIGHT = 273, 279, 278, 324, 322, 323
UNCOMPRESSED, JPEG, YCBCR, SEPARATE = 1, 7, 6, 2  # values of them
START, SCAN, FRAMES = b"\xff\xd8", 0xDA, (0xC0, 0xC1, 0xC2)  # markers of a JPEG


def has_coded_size(data: bytes, opened: Image.Image) -> bool:
    """Whether the picture has the size that its container says, as far as it is known to say it twice. No pixel is decoded."""
    if opened.format == "AVIF":
        try:
            sizes = avif_sizes(data)
        except ValueError:
            return False
        return bool(sizes) and all(declared == coded for declared, coded in sizes)
    if opened.format == "TIFF":
        with suppress(KeyError, IndexError, TypeError, ZeroDivisionError, struct.error):  # tags of wrong types and values
            return _has_coded_size(data, getattr(opened, "tag_v2", {}))
    return True


def _has_coded_size(data: bytes, tags: Mapping[int, Any]) -> bool:
    """Whether the strips or tiles of a TIFF are JPEGs of the right size, or of no more bytes than their pixels take."""
    width, rows = tags[WIDTH], min(tags.get(STRIP_ROWS, tags[HEIGHT]), tags[HEIGHT])
    if tags.get(COMPRESSION) == JPEG:
        # The last strip may be filled up with rows.
        return all(_jpeg_size(data, at) in (None, size, (width, rows)) for at, size in _segments(tags, rows))
    if tags.get(COMPRESSION) == UNCOMPRESSED and tags.get(PHOTOMETRIC) != YCBCR and STRIP_BYTES in tags:
        bits = tags[BITS][0] if tags.get(PLANES) == SEPARATE else sum(tags[BITS])
        return bool(tags[STRIP_BYTES][0] <= -(-width * bits // 8) * rows)
    return True


def _segments(tags: Mapping[int, Any], rows: int) -> list[tuple[int, Size]]:
    """Where each strip or tile lies, and its size."""
    if TILES in tags:
        return [(at, (tags[TILE_WIDTH], tags[TILE_HEIGHT])) for at in tags[TILES]]
    width, height = tags[WIDTH], tags[HEIGHT]
    in_plane = -(-height // rows)
    return [(at, (width, min(rows, height - number % in_plane * rows))) for number, at in enumerate(tags[STRIPS])]


def _jpeg_size(data: bytes, at: int) -> Size | None:
    """The size in the frame header of a JPEG that begins there; None where there is none before its pixels."""
    at += len(START)
    while at + 9 <= len(data) and data[at] == 0xFF and data[at + 1] != SCAN:
        if data[at + 1] in FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
