"""Pictures read the same everywhere: upright, in sRGB, of 8 bits, over white."""

import io
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from pipelines.images.decode import decode
from pipelines.images.identify import identify
from pipelines.images.settings import ImageSettings
from sharding.decode import decode_picture, decode_pixels, is_srgb, to_srgb
from tests.support.images import STANDARD, WIDE, encoded, grey_profile, rgb_profile, smooth, turned_exif
from tests.support.mutants import grey_local_palette

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMATS = {"JPEG": {"quality": 95, "subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "AVIF": {"quality": 95}}


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), dtype=np.int16)


def difference(first: Image.Image, second: Image.Image) -> float:
    return float(np.abs(pixels(first) - pixels(second)).mean())


@pytest.mark.parametrize("format", FORMATS)
@settings(deadline=None, max_examples=12)
@given(orientation=st.integers(1, 8), at_least=st.sampled_from([0, 16]))
def test_every_orientation_is_turned_upright(format: str, orientation: int, at_least: int) -> None:
    picture = smooth(64, 40)
    body = encoded(picture, format, exif=turned_exif(orientation), **FORMATS[format])
    decoded = decode_picture(body, at_least)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(body))).convert("RGB")
    assert (decoded.width > decoded.height) == (orientation < 5)
    assert np.array_equal(decode_pixels(body, at_least), np.asarray(decoded))
    assert difference(decoded, expected.resize(decoded.size)) < 6


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("at_least", [0, 16])
def test_colours_of_another_space_become_srgb(format: str, at_least: int) -> None:
    picture = smooth(64, 40)
    profile = rgb_profile(WIDE)
    body = encoded(picture, format, icc_profile=profile, **FORMATS[format])
    decoded = decode_picture(body, at_least)
    assert np.array_equal(decode_pixels(body, at_least), np.asarray(decoded))
    converted = ImageCms.profileToProfile(picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"))
    assert difference(decoded, converted.resize(decoded.size)) < 4 < difference(decoded, picture.resize(decoded.size))


def test_srgb_by_any_name_and_a_broken_profile_change_nothing() -> None:
    picture = smooth(64, 40)
    for profile in (SRGB, b"no profile", SRGB[:300], grey_profile(2.2), b""):
        assert is_srgb(profile)
        assert np.array_equal(pixels(decode_picture(encoded(picture, "PNG", icc_profile=profile))), pixels(picture))
    assert not is_srgb(rgb_profile(WIDE)) and not is_srgb(rgb_profile(STANDARD, 1.0))


def test_grey_with_a_profile_is_the_same_at_every_scale_and_to_fetch() -> None:
    ramp = Image.fromarray(np.tile(np.arange(0, 256, 2, dtype=np.uint8), (64, 1)))
    for gamma in (1.0, 1.8, 2.6):
        body = encoded(ramp, "JPEG", quality=95, icc_profile=grey_profile(gamma))
        whole = decode_picture(body)
        assert difference(whole, Image.fromarray(decode(identify(body, ImageSettings()), (16, 16)))) == 0
        for at_least in (16, 64):
            scaled = decode_picture(body, at_least)
            assert difference(scaled, whole.resize(scaled.size, Image.Resampling.BOX)) < 3


def test_grey_with_a_profile_and_transparency_with_a_profile() -> None:
    ramp = Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=np.uint8), (20, 1)))
    linear = pixels(decode_picture(encoded(ramp, "PNG", icc_profile=grey_profile(1.0))))
    expected = 255 * (np.arange(0, 256, 4) / 255) ** (1 / 2.2)
    assert np.abs(linear[0, 8:, 0] - expected[8:]).max() < 5
    assert np.array_equal(linear[..., 0], linear[..., 2])
    red = Image.new("RGBA", (8, 8), (200, 60, 60, 128))
    shown = decode_picture(encoded(red, "PNG", icc_profile=rgb_profile(WIDE))).getpixel((4, 4))
    plain = decode_picture(encoded(red, "PNG")).getpixel((4, 4))
    assert plain == (227, 157, 157) and shown[0] > plain[0] and shown[1] < plain[1]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 65535), st.integers(0, 65535), st.booleans())
def test_deep_grey_is_scaled_by_its_type_and_not_by_its_maximum(first: int, second: int, transparent: bool) -> None:
    values = np.array([[first, second]], dtype=np.uint16)
    body = encoded(Image.fromarray(values), "PNG")
    if transparent:
        body = with_transparent_grey(body, first)
    decoded = pixels(decode_picture(body))[0, :, 0]
    expected = np.round(values[0] / 257)
    if transparent:
        expected[values[0] == first] = 255
    assert np.abs(decoded - expected).max() <= 1


def test_floats_and_wide_integers_are_scaled_by_their_type() -> None:
    floats = np.array([[0.0, 0.25, 1.0, 7.0, -1.0, np.nan]], dtype=np.float32)
    assert pixels(decode_picture(encoded(Image.fromarray(floats), "TIFF")))[0, :, 0].tolist() == [0, 64, 255, 255, 0, 0]
    for kind, top in ((np.uint16, 2**16 - 1), (np.int32, 2**32 - 1)):
        values = np.array([[0, 2**14, 2**15 - 1]], dtype=kind)
        decoded = pixels(decode_picture(encoded(Image.fromarray(values), "TIFF")))[0, :, 0]
        assert np.abs(decoded - 255 * values[0].astype(float) / top).max() <= 1


def png(width: int, bits: int, colour: int, row: bytes, transparent: bytes) -> bytes:
    """A PNG of one row in which one colour is transparent (its chunk tRNS)."""
    header = struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


@pytest.mark.parametrize(
    "bits, row, width",
    [(1, b"\x50", 4), (2, b"\x1b", 4), (4, b"\x01\x23\x45\x67\x89\xab\xcd\xef", 16), (8, bytes(range(0, 256, 5)), 52)],
)
def test_a_transparent_grey_has_the_bits_of_the_file(bits: int, row: bytes, width: int) -> None:
    top = 2**bits - 1
    levels = [int(digit, 2) for digit in re.findall("." * bits, f"{int.from_bytes(row):0{8 * len(row)}b}")][:width]
    for transparent in range(0, top + 1, max(1, top // 15)):
        decoded = pixels(decode_picture(png(width, bits, 0, row, struct.pack(">H", transparent))))[0, :, 0].tolist()
        assert decoded == [255 if level == transparent else 255 * level // top for level in levels]


def test_a_transparent_colour_of_16_bits_is_that_of_the_file() -> None:
    row = struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0x3412, 0x7856, 0xBC9A)
    for first in (True, False):
        body = png(2, 16, 2, row, row[:6] if first else row[6:])
        shown = pixels(decode_picture(body))[0].tolist()
        assert shown == ([[255] * 3, [0x34, 0x78, 0xBC]] if first else [[0x12, 0x56, 0x9A], [255] * 3])


def test_grey_of_12_bits_is_scaled_by_its_type() -> None:
    data = bytes([0x00, 0x0F, 0xFF, 0x80, 0x04, 0x00])  # 0, 4095, 2048, 1024
    entries = [(256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, len(data))]
    body = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries))
    body += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries) + bytes(4)
    assert pixels(decode_picture(body))[0, :, 0].tolist() == [0, 255, 128, 64]


def test_scaling_deep_grey_takes_little_memory_whatever_its_shape() -> None:
    for shape in ((3000, 3000), (1, 9_000_000)):
        image = Image.fromarray(np.full(shape, 2**15, np.uint16))
        tracemalloc.start()
        scaled = to_srgb(image)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert scaled.getpixel((0, 0)) == (128, 128, 128) and most < 12 * 9_000_000


def with_transparent_grey(png: bytes, grey: int) -> bytes:
    """A 16-bit grey PNG in which one grey is transparent (its chunk tRNS)."""
    chunk = b"tRNS" + struct.pack(">H", grey)
    place = png.index(b"IDAT") - 4
    return png[:place] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[place:]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "F"])
def test_every_mode_of_a_tiff_becomes_rgb(mode: str) -> None:
    picture = smooth(20, 10).convert("RGB")
    if mode in ("I;16", "F"):
        image = Image.fromarray(np.asarray(picture.convert("L")).astype({"I;16": np.uint16, "F": np.float32}[mode]))
    elif mode == "LAB":
        image = ImageCms.profileToProfile(
            picture, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    else:
        image = picture.convert(mode)
    decoded = decode_picture(encoded(image, "TIFF"))
    assert decoded.mode == "RGB" and decoded.size == (20, 10)


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xd8\xff", encoded(smooth(64, 40), "PNG")[:80]])
def test_what_cannot_be_decoded_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="not a picture") as refused:
        decode_picture(body)
    assert " at 0x" not in str(refused.value)


def test_a_gif_with_a_grey_palette_and_transparency_is_decoded() -> None:
    assert decode_picture(grey_local_palette()).getpixel((0, 0)) == (255, 255, 255)
