"""A JPEG that is told to be nothing but a picture is decoded to what Pillow's way gives; any other is left to Pillow."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sharding import decode
from sharding.decode import decode_pixels
from sharding.plain_jpeg import plain_jpeg_size
from tests.support.images import WIDE, encoded, rgb_profile, smooth, turned_exif

PICTURE = smooth(64, 40)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True, "subsampling": 0}, {"comment": b"hello"}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_ones_are_told_by_their_size(mode: str, options: dict) -> None:
    assert plain_jpeg_size(encoded(PICTURE.convert(mode), "JPEG", **options)) == (64, 40)


@pytest.mark.parametrize(
    "body",
    [
        encoded(PICTURE, "JPEG", exif=turned_exif(6)),
        encoded(PICTURE, "JPEG", icc_profile=rgb_profile(WIDE)),
        encoded(PICTURE.convert("CMYK"), "JPEG"),
        encoded(PICTURE, "PNG"),
        encoded(PICTURE, "JPEG")[:100],
        b"\xff\xd8",
        b"",
    ],
)
def test_all_others_are_left_to_pillow(body: bytes) -> None:
    assert plain_jpeg_size(body) is None


def test_one_too_large_is_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 40 - 1)
    assert plain_jpeg_size(encoded(PICTURE, "JPEG")) is None


def outcome(body: bytes) -> list | str:
    try:
        return decode_pixels(body, 16).tolist()
    except ValueError:
        return "not a picture"


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(["RGB", "L"]), st.lists(st.tuples(st.integers(0, 699), st.integers(0, 255)), max_size=3), st.booleans())
def test_damage_ends_as_it_does_by_pillow(mode: str, changes: list[tuple[int, int]], progressive: bool) -> None:
    body = bytearray(encoded(PICTURE.convert(mode), "JPEG", progressive=progressive))
    for at, value in changes:
        body[at % len(body)] = value
    with pytest.MonkeyPatch.context() as patch:
        shortcut = outcome(bytes(body))
        patch.setattr(decode, "plain_jpeg_size", lambda data: None)
        assert shortcut == outcome(bytes(body))
