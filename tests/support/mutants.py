"""Damaged images: every format that fetch reads, mutated with a fixed seed; and small files of huge images.

`python -m tests.support.mutants COUNT` puts the mutants through identifying and every way of storing, and prints the counts as
JSON: how often each class, the slowest image, the peak of memory. It is a program of its own so that a crash of a decoder and
its memory are seen.
"""

from __future__ import annotations

import json
import random
import struct
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.images.identify import RejectedImage, identify
from pipelines.images.prepare import prepare
from pipelines.images.settings import ImageSettings
from tests.support.images import encoded, smooth, turned_exif

WAYS = [ImageSettings(resize=way, size=32, max_pixels=4_000_000) for way in ("keep", "shorter_side", "border")]
NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def seeds() -> dict[str, bytes]:
    """Small sound images of every format and of the variants that decoders treat differently."""
    colour, grey = smooth(24, 17), smooth(24, 17).convert("L")
    clear = colour.copy()
    clear.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": [colour.rotate(90)]}
    return {
        "png": encoded(colour, "PNG"),
        "png palette": encoded(colour.quantize(9), "PNG", transparency=3),
        "png alpha": encoded(clear, "PNG", exif=turned_exif()),
        "png 16 bits": encoded(deep, "PNG"),
        "gif": encoded(colour, "GIF", **frames),
        "gif transparent": encoded(grey, "GIF", transparency=3),
        "jpeg": encoded(colour, "JPEG", exif=turned_exif()),
        "jpeg plain": encoded(colour, "JPEG"),
        "jpeg progressive": encoded(colour, "JPEG", progressive=True),
        "jpeg cmyk": encoded(colour.convert("CMYK"), "JPEG"),
        "webp": encoded(colour, "WEBP"),
        "webp lossless": encoded(clear, "WEBP", lossless=True, exif=turned_exif()),
        "webp frames": encoded(colour, "WEBP", **frames),
        "avif": encoded(colour, "AVIF", speed=10),
        "avif alpha": encoded(clear, "AVIF", speed=10),
        "tiff": encoded(colour, "TIFF"),
        "tiff deflate": encoded(deep, "TIFF", compression="tiff_deflate"),
        "tiff jpeg": encoded(colour, "TIFF", compression="jpeg"),
        "bmp": encoded(colour, "BMP"),
        "bmp palette": encoded(colour.quantize(9), "BMP"),
    }


def grey_local_palette() -> bytes:
    """A GIF whose global palette has colours and whose local one is the grey ramp, with transparency."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes([9] * 6)
    control = b"\x21\xf9\x04\x01\0\0\0\0"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0x80) + bytes([0, 0, 0, 1, 1, 1])
    return screen + control + frame + b"\2\2\x44\1\0;"


def flat_webp(side: int) -> bytes:
    """A lossless WebP of one colour, some dozens of bytes however large (side: 16 384 at most)."""
    # One code each for green, red, blue, alpha and distance, all of a single symbol: pixels take no bits (RFC 9649, 3.7).
    bits, place = 0, 0
    fields = [(0x2F, 8), (side - 1, 14), (side - 1, 14), (0, 4), (0, 3)]
    for symbol in (7, 7, 7, 255, 0):
        fields += [(1, 1), (0, 1), (1, 1), (symbol, 8)]
    for value, width in fields:
        bits |= value << place
        place += width
    data = bits.to_bytes((place + 7) // 8 + 2, "little")
    data += b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(data) + 12) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data


def mutants(count: int) -> Iterator[tuple[str, bytes]]:
    """(the name of the seed, the damaged file) `count` times, always the same."""
    chance, bodies = random.Random(0), seeds()
    names = [*bodies]
    for number in range(count):
        name = names[number % len(names)]
        body = bytearray(bodies[name])
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            # Headers are where decoders go wrong, and most of a file is none.
            at = chance.randrange(min(len(body), chance.choice((64, 256, 1 << 20))) or 1)
            chance.choice(DAMAGES)(body, at, chance)
        yield name, _with_checksums(bytes(body)) if name.startswith("png") else bytes(body)


def _flip(body: bytearray, at: int, chance: random.Random) -> None:
    body[at : at + 1] = bytes([chance.randrange(256)])


def _number(body: bytearray, at: int, chance: random.Random) -> None:
    order, (size, code) = chance.choice("<>"), chance.choice(((2, "H"), (4, "I")))
    body[at : at + size] = struct.pack(order + code, chance.choice(NUMBERS) & (256**size - 1))


def _cut(body: bytearray, at: int, chance: random.Random) -> None:
    del body[max(at, 8) :]


def _drop(body: bytearray, at: int, chance: random.Random) -> None:
    del body[at : at + chance.randrange(1, 40)]


def _repeat(body: bytearray, at: int, chance: random.Random) -> None:
    body[at:at] = body[at : at + chance.randrange(1, 40)] * chance.randrange(1, 5)


DAMAGES: list[Callable[[bytearray, int, random.Random], None]] = [_flip, _flip, _number, _number, _cut, _drop, _repeat]


def _with_checksums(png: bytes) -> bytes:
    """The PNG with right checksums, so that its damage is read."""
    parts, at = [png[:8]], 8
    while at + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        body = png[at + 4 : at + 8 + length]
        parts.append(png[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join(parts) + png[at:]


def memory_peak() -> int:
    """The most memory this process has held, in bytes."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) << 10


def check(count: int) -> dict[str, object]:
    """Puts the mutants through all WAYS of storing them; stops at the first exception that has no class."""
    for body in seeds().values():  # what the decoders load counts for no mutant
        for way in WAYS:
            prepare(identify(body, way), way)
    classes: Counter[str] = Counter()
    before, slowest = memory_peak(), 0.0
    for number, (name, body) in enumerate(mutants(count)):
        for way in WAYS:
            started = time.process_time()
            try:
                prepare(identify(body, way), way)
                classes["ok"] += 1
            except RejectedImage as rejected:
                classes[rejected.error] += 1
            except Exception:
                return {"number": number, "seed": name, "hex": body.hex(), "raised": traceback.format_exc()}
            slowest = max(slowest, time.process_time() - started)
    return {"classes": classes, "slowest": round(slowest, 2), "grown_mib": (memory_peak() - before) >> 20}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(check(int(sys.argv[1]))) + "\n")
