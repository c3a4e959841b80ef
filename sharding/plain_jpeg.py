"""JPEGs that are nothing but a picture, as most are that a fetcher encoded: no profile, no orientation, only the usual colours.

Pillow takes longer to open a JPEG, with the interpreter's lock held, than to hand it from one thread to another.
"""

from __future__ import annotations

from PIL import Image

START, SCAN = b"\xff\xd8", 0xDA
FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
TABLES = (0xC4, 0xDB, 0xDD, 0xFE)  # Huffman and quantisation tables, restart interval, comment
JFIF, JFIF_NAME = 0xE0, b"JFIF\0"
COMPONENTS = (1, 3)  # grey, YCbCr


def plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a JPEG of 8-bit grey or YCbCr that has nothing else before its pixels; None of any other file.

    Nor of one that is so large that Pillow warns of it.
    """
    if data[:2] != START:
        return None
    at, size = 2, None
    try:
        while (marker := data[at + 1]) != SCAN:
            length = data[at + 2] << 8 | data[at + 3]
            if marker in FRAMES and size is None and data[at + 4] == 8 and data[at + 9] in COMPONENTS:
                size = data[at + 7] << 8 | data[at + 8], data[at + 5] << 8 | data[at + 6]
            elif marker not in TABLES and not (marker == JFIF and data[at + 4 : at + 9] == JFIF_NAME):
                return None
            if data[at] != 0xFF or length < 2:
                return None
            at += 2 + length
    except IndexError:
        return None
    most = Image.MAX_IMAGE_PIXELS
    return None if size is None or not 0 < size[0] * size[1] <= (most or size[0] * size[1]) else size
