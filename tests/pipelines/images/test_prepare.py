"""Images of any kind become upright RGB of the right size, or an error class."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from filters.duplicates.hashes import perceptual_hashes
from pipelines.images.identify import RejectedImage, identify
from pipelines.images.prepare import memory_needed
from pipelines.images.settings import ImageSettings
from tests.support.images import encoded, smooth, stored_of, turned_exif


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "1", "I;16"])
def test_every_png_mode_becomes_rgb(mode: str) -> None:
    image = Image.linear_gradient("L").resize((40, 30))
    image = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50) if mode == "I;16" else image.convert(mode)
    stored = stored_of(encoded(image, "PNG"), ImageSettings(size=20))
    assert Image.open(io.BytesIO(stored.data)).mode == "RGB"
    assert (stored.width, stored.height) == (40, 30)


def test_cmyk_exif_rotation_and_the_first_frame() -> None:
    cmyk = encoded(Image.new("CMYK", (40, 30), (0, 255, 255, 0)), "JPEG")
    assert Image.open(io.BytesIO(stored_of(cmyk, ImageSettings()).data)).getpixel((5, 5))[0] > 200
    turned = stored_of(encoded(Image.new("RGB", (60, 20)), "JPEG", exif=turned_exif()), ImageSettings())
    assert (turned.width, turned.height) == (20, 60) == Image.open(io.BytesIO(turned.data)).size
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(stored_of(moving, ImageSettings()).data)).getpixel((9, 9))[0] > 200


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 900), st.integers(1, 900), st.sampled_from(["shorter_side", "longer_side"]), st.integers(1, 600))
def test_resizing_keeps_the_ratio_and_never_enlarges(width: int, height: int, mode: str, size: int) -> None:
    stored = stored_of(encoded(Image.new("RGB", (width, height)), "PNG"), ImageSettings(resize=mode, size=size))
    out = Image.open(io.BytesIO(stored.data)).size
    side = min(width, height) if mode == "shorter_side" else max(width, height)
    scale = min(1.0, size / side)
    assert all(abs(o - s * scale) <= 1 for o, s in zip(out, (width, height), strict=True))
    assert (stored.width, stored.height) == (width, height)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(200, 1200), st.integers(200, 1200), st.integers(0, 9), st.sampled_from([96, 256]), st.sampled_from(["RGB", "L"])
)
def test_a_scaled_jpeg_is_the_image_upright(width: int, height: int, orientation: int, size: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = encoded(smooth(width, height).convert(mode), "JPEG", quality=95, exif=exif)
    stored = stored_of(body, ImageSettings(size=size, resize="longer_side", quality=95))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(body))).convert("RGB")
    assert (stored.width, stored.height) == upright.size
    out = Image.open(io.BytesIO(stored.data))
    expected = np.asarray(upright.resize(out.size, Image.Resampling.BOX), np.float32)
    assert np.abs(np.asarray(out.convert("RGB"), np.float32) - expected).mean() < 12  # in another orientation it is over 40
    kept = stored_of(body, ImageSettings(resize="keep"))
    assert kept.data == body
    assert (kept.phash ^ stored.phash).bit_count() <= 16  # of another image about 32


def test_a_jpeg_that_holds_further_images_is_one() -> None:
    body = encoded(smooth(90, 60), "MPO", save_all=True, append_images=[smooth(90, 60)])
    for resize in ("keep", "shorter_side"):
        stored = stored_of(body, ImageSettings(resize=resize))
        assert (stored.extension, stored.mime, stored.width) == ("jpg", "image/jpeg", 90)


@settings(deadline=None, max_examples=200)
@given(st.data(), st.sampled_from(["keep", "shorter_side"]))
def test_a_corrupt_jpeg_is_stored_or_rejected(data: st.DataObject, resize: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "an image"
    body = bytearray(encoded(smooth(64, 48), "JPEG", exif=exif))
    for place in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=4)):
        body[place] = data.draw(st.integers(0, 255))
    try:
        stored_of(bytes(body[: data.draw(st.integers(1, len(body)))]), ImageSettings(resize=resize))
    except RejectedImage as rejected:
        assert rejected.error in ("truncated", "corrupt_image", "not_an_image", "unsupported_image", "too_many_pixels")


@settings(deadline=None)
@given(st.integers(2, 200))
def test_a_jpeg_without_its_end_is_truncated(missing: int) -> None:
    body = encoded(smooth(300, 200), "JPEG")
    for resize in ("keep", "shorter_side"):
        with pytest.raises(RejectedImage, match="truncated"):
            stored_of(body[:-missing], ImageSettings(resize=resize, size=32))


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_rejected_image(data: bytes) -> None:
    for prefix in (b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBP", b"GIF89a"):
        with pytest.raises(RejectedImage):
            stored_of(prefix + data, ImageSettings())


def test_a_recompressed_image_has_a_near_hash_and_another_has_not() -> None:
    chance = np.random.default_rng(0)
    first, second = (Image.fromarray(chance.integers(0, 255, (8, 8), np.uint8)).resize((200, 200)) for _ in range(2))

    def phash(image: Image.Image) -> int:
        return int(perceptual_hashes(np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX))[None])[0])

    again = Image.open(io.BytesIO(encoded(first.resize((90, 90)), "JPEG", quality=50)))
    assert (phash(first) ^ phash(again)).bit_count() <= 8
    assert (phash(first) ^ phash(second)).bit_count() >= 16


@settings(deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["centre_crop", "border"]), st.integers(1, 64))
def test_squares_are_squares(width: int, height: int, mode: str, size: int) -> None:
    body = encoded(Image.new("RGB", (width, height), "red"), "PNG")
    stored = Image.open(io.BytesIO(stored_of(body, ImageSettings(resize=mode, size=size)).data))
    side = size if mode == "border" else min(size, width, height)
    assert stored.size == (side, side)
    if min(width, height) >= 16 and side >= 16 and max(width, height) < 3 * min(width, height):
        red, green, blue = stored.getpixel((side // 2, side // 2))  # the image is in the middle
        assert red > 200 and green < 90 and blue < 90


def tiled_tiff(side: int, tile: int) -> bytes:
    """A grey TIFF of few pixels in a tile of many."""
    data = zlib.compress(bytes(tile * tile), 1)
    entries = [
        (256, side),
        (257, side),
        (258, 8),
        (259, 8),
        (262, 1),
        (277, 1),
        (322, tile),
        (323, tile),
        (324, 8),
        (325, len(data)),
    ]
    body = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries))
    return body + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries) + bytes(4)


def test_a_tile_counts_whole_however_little_of_it_is_shown() -> None:
    small = ImageSettings(decode_memory=20 << 20)
    assert stored_of(tiled_tiff(64, 64), small).width == 64
    assert memory_needed(identify(tiled_tiff(64, 2048), small)) >= 2048**2
    with pytest.raises(RejectedImage, match="too_many_pixels"):
        stored_of(tiled_tiff(64, 2048), small)
