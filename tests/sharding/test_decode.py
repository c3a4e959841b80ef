"""Pictures read the same everywhere: upright, in sRGB, of 8 bits, over white."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from sharding.decode import decode_picture, is_srgb
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
    assert difference(decoded, expected.resize(decoded.size)) < 6


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("at_least", [0, 16])
def test_colours_of_another_space_become_srgb(format: str, at_least: int) -> None:
    picture = smooth(64, 40)
    profile = rgb_profile(WIDE)
    decoded = decode_picture(encoded(picture, format, icc_profile=profile, **FORMATS[format]), at_least)
    converted = ImageCms.profileToProfile(picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"))
    assert difference(decoded, converted.resize(decoded.size)) < 4 < difference(decoded, picture.resize(decoded.size))


def test_srgb_by_any_name_and_a_broken_profile_change_nothing() -> None:
    picture = smooth(64, 40)
    for profile in (SRGB, b"no profile", SRGB[:300], grey_profile(2.2), b""):
        assert is_srgb(profile)
        assert np.array_equal(pixels(decode_picture(encoded(picture, "PNG", icc_profile=profile))), pixels(picture))
    assert not is_srgb(rgb_profile(WIDE)) and not is_srgb(rgb_profile(STANDARD, 1.0))


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


def with_transparent_grey(png: bytes, grey: int) -> bytes:
    """A 16-bit grey PNG in which one grey is transparent (its chunk tRNS)."""
    import zlib

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
    with pytest.raises(ValueError, match="not a picture"):
        decode_picture(body)


def test_a_gif_with_a_grey_palette_and_transparency_is_decoded() -> None:
    assert decode_picture(grey_local_palette()).getpixel((0, 0)) == (255, 255, 255)
