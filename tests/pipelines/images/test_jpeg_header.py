"""The header reader agrees with Pillow, or leaves the image to it."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.images.jpeg_header import plain_header
from tests.support.images import WIDE, encoded, rgb_profile, smooth, turned_exif

KINDS = st.sampled_from([{}, {"exif": turned_exif()}, {"progressive": True}, {"comment": b"drawn by hand"}, {"subsampling": 0}])


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["RGB", "L", "CMYK"]), KINDS)
def test_the_size_of_a_plain_jpeg_is_that_of_pillow(width: int, height: int, mode: str, options: dict) -> None:
    body = encoded(smooth(width, height).convert(mode), "JPEG", **options)
    plain = mode != "CMYK" and not options.keys() & {"exif", "progressive"}
    assert plain_header(body) == ((*Image.open(io.BytesIO(body)).size, None) if plain else None)


@settings(deadline=None, max_examples=300)
@given(st.data(), KINDS)
def test_the_size_of_a_corrupt_jpeg_is_that_of_pillow_or_none(data: st.DataObject, options: dict) -> None:
    body = bytearray(encoded(smooth(64, 48), "JPEG", **options))
    for place in data.draw(st.lists(st.integers(0, 700), max_size=3)):
        body[place % len(body)] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))]
    header = plain_header(bytes(body))
    try:
        image = Image.open(io.BytesIO(body))
    except Exception:  # a corrupt table; decoding rejects it
        return
    assert header is None or header[:2] == image.size
    assert header is None or (image.mode in ("RGB", "L") and "progressive" not in image.info)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 3000), st.booleans())
def test_the_profile_is_that_of_pillow_and_one_of_several_segments_is_left_to_it(more: int, long: bool) -> None:
    profile = rgb_profile(WIDE) + bytes(70_000 if long else more)
    body = encoded(smooth(30, 20), "JPEG", icc_profile=profile)
    assert Image.open(io.BytesIO(body)).info["icc_profile"] == profile
    assert plain_header(body) == (None if long else (30, 20, profile))
    assert plain_header(encoded(smooth(30, 20).convert("L"), "JPEG", icc_profile=profile)) is None
