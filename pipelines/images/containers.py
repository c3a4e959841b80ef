"""What a body that cannot be decoded is, by its container: an image cut off or damaged, one of a format that we do not read, or
none.

Decoders do not tell these apart (a cut WebP is "not an image" to one and "broken" to another), but a container says how long it
is: RIFF, BMP and the boxes of AVIF in their sizes, TIFF by where its strips lie, PNG, GIF and JPEG by a mark at their end.
"""

from __future__ import annotations

import re
import struct

from pipelines.images.text_run import has_text

SOI, EOI, START_OF_SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # of a segment, or of the end
END = re.compile(EOI)  # in half the time that bytes.find takes
SCAN_COLOURS = 4  # where a scan tells how many colours it holds
BMP_HEADER = 26
READABLE = (SOI, b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")
ISO_IMAGES = (b"avif", b"avis")
# First bytes of formats that are images, but none that we read.
UNSUPPORTED = (
    b"DDS ",
    b"\0\0\1\0",  # ICO
    b"\0\0\2\0",  # CUR
    b"icns",
    b"8BPS",
    b"\0\0\0\x0cjP  ",  # JPEG 2000
    b"\xff\x4f\xff\x51",
    b"\xff\x0a",  # JPEG XL
    b"\0\0\0\x0cJXL ",
    b"\x76\x2f\x31\x01",  # OpenEXR
    b"#?RADIANCE",
    b"gimp xcf",
    b"qoif",
    b"II+\0",  # BigTIFF
    b"MM\0+",
)
HEIF = (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1")
TGA_TYPES, TGA_BITS, TGA_FOOTER = (1, 2, 3, 9, 10, 11), (8, 15, 16, 24, 32), b"TRUEVISION-XFILE.\0"
STRIPS, TILES = (273, 279), (324, 325)  # TIFF's tags of offsets and lengths


def error_class(body: bytes) -> str:
    """The class of a body that cannot be opened: truncated, corrupt_image, unsupported_image or not_an_image."""
    if _is_readable(body):
        return "truncated" if is_cut(body) else "corrupt_image"
    return "unsupported_image" if _is_unsupported(body) else "not_an_image"


def is_cut(body: bytes) -> bool:
    """Whether the container says that bytes are missing at the end."""
    if body.startswith(b"RIFF"):
        return len(body) < 12 or int.from_bytes(body[4:8], "little") + 8 > len(body)
    if body[4:8] == b"ftyp":
        return _boxes_end(body) > len(body)
    if body.startswith(SOI):
        return body.rfind(EOI) < max(body.rfind(START_OF_SCAN), 0)
    if body.startswith(b"\x89PNG"):
        return b"IEND" not in body
    if body.startswith(b"GIF8"):
        return not body.rstrip(b"\0").endswith(b";")
    if body.startswith(b"BM"):
        return len(body) < BMP_HEADER or int.from_bytes(body[2:6], "little") > len(body)
    return body[:4] in (b"II*\0", b"MM\0*") and _tiff_end(body) > len(body)


def has_text_inside(jpeg: bytes) -> bool:
    """Whether the coded pixels of a JPEG hold 192 characters of text or more, such as a server's error message.

    Coded pixels look random, so they never do (0.38 ** 192), but a decoder may find its way through text without noticing.
    """
    # To find the very pixels takes longer, and what lies around them (a thumbnail, a film) seldom holds text either.
    start, end = jpeg.find(START_OF_SCAN), jpeg.rfind(EOI)
    return has_text(jpeg, max(0, start), max(0, end)) and has_text(jpeg, *_coded_pixels(jpeg))


def has_more_scans(jpeg: bytes, most: int) -> bool:
    """Whether a JPEG has more scans than `most`; what lies behind it, such as a film, is not looked at."""
    if jpeg.count(START_OF_SCAN) <= most:
        return False
    at = len(SOI)
    for _ in range(most + 1):
        at = _next_scan(jpeg, at)
        if at < 0:
            return False
        at += len(START_OF_SCAN)
    return True


def first_scan_colours(jpeg: bytes) -> int:
    """How many colours the first scan of a JPEG holds."""
    at = _next_scan(jpeg, len(SOI)) + SCAN_COLOURS
    return jpeg[at] if at < len(jpeg) else 0


def _coded_pixels(jpeg: bytes) -> tuple[int, int]:
    """Where the first scan of a JPEG begins, and where the image ends; all of it where there is no scan."""
    start = _next_scan(jpeg, len(SOI))
    end = END.search(jpeg, start) if start >= 0 else None
    return max(0, start), end.start() if end else len(jpeg)


def _next_scan(jpeg: bytes, at: int) -> int:
    """Where the next scan begins, from `at` on, which is between two segments; -1 where the image ends before one."""
    while marker := MARKER.search(jpeg, at):
        at = marker.start()
        if jpeg.startswith(START_OF_SCAN, at):
            return at
        if jpeg.startswith(EOI, at):
            return -1
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return -1


def _is_readable(body: bytes) -> bool:
    if body.startswith(b"BM"):  # two letters that text begins with, too: its reserved bytes are zero
        return body[6:10] == b"\0\0\0\0"
    is_webp = body.startswith(b"RIFF") and body[8:12] == b"WEBP"
    return is_webp or body.startswith(READABLE) or (body[4:8] == b"ftyp" and body[8:12] in ISO_IMAGES)


def _is_unsupported(body: bytes) -> bool:
    if body.startswith(UNSUPPORTED) or (body[4:8] == b"ftyp" and body[8:12] in HEIF):
        return True
    is_netpbm = len(body) > 2 and body[:1] == b"P" and body[1:2] in b"1234567" and body[2:3].isspace()
    return is_netpbm or _is_tga(body)


def _is_tga(body: bytes) -> bool:
    """TGA has no mark at its start, so its header must make sense, or its footer be there."""
    if len(body) < 18:
        return False
    id_length, has_map, kind, _, map_size, map_bits, _, _, width, height, bits, _ = struct.unpack("<BBBHHBHHHHBB", body[:18])
    if has_map > 1 or kind not in TGA_TYPES or bits not in TGA_BITS or not width * height:
        return False
    pixels = 18 + id_length + has_map * map_size * -(-map_bits // 8) + width * height * -(-bits // 8)
    return body.endswith(TGA_FOOTER) or kind >= 9 or len(body) >= pixels


def _boxes_end(body: bytes) -> int:
    at = 0
    while at + 8 <= len(body):
        size = int.from_bytes(body[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(body[at + 8 : at + 16], "big")
        if size < 8:  # 0: to the end of the file
            return len(body) if size == 0 else at
        at += size
    return at if at >= len(body) else len(body) + 1


def _tiff_end(body: bytes) -> int:
    """Where the first directory and its pixels end."""
    order = "<" if body[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(order + "I", body, 4)
        (count,) = struct.unpack_from(order + "H", body, at)
        entries = {}
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(order + "HHI", body, entry)
            if tag in (*STRIPS, *TILES):
                entries[tag] = _tiff_values(body, entry, order, kind, values)
        for offsets, lengths in (STRIPS, TILES):
            if entries.get(offsets):
                return max(map(sum, zip(entries[offsets], entries.get(lengths, ()), strict=False)), default=0)
    except struct.error:
        return len(body) + 1
    return len(body)


def _tiff_values(body: bytes, entry: int, order: str, kind: int, count: int) -> tuple[int, ...]:
    letter = {3: "H", 4: "I"}.get(kind)
    if letter is None or count > len(body):
        return ()
    form = struct.Struct(f"{order}{count}{letter}")
    at = entry + 8 if form.size <= 4 else struct.unpack_from(order + "I", body, entry + 8)[0]
    return form.unpack_from(body, at)
