"""The header reader agrees with Pillow, or leaves the image to it."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.images.jpeg_header import plain_size
from tests.support.images import encoded, smooth, turned_exif

KINDS = st.sampled_from([{}, {"exif": turned_exif()}, {"progressive": True}, {"comment": b"drawn by hand"}, {"subsampling": 0}])


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["RGB", "L", "CMYK"]), KINDS)
def test_the_size_of_a_plain_jpeg_is_that_of_pillow(width: int, height: int, mode: str, options: dict) -> None:
    body = encoded(smooth(width, height).convert(mode), "JPEG", **options)
    plain = mode != "CMYK" and not options.keys() & {"exif", "progressive"}
    assert plain_size(body) == (Image.open(io.BytesIO(body)).size if plain else None)


@settings(deadline=None, max_examples=300)
@given(st.data(), KINDS)
def test_the_size_of_a_corrupt_jpeg_is_that_of_pillow_or_none(data: st.DataObject, options: dict) -> None:
    body = bytearray(encoded(smooth(64, 48), "JPEG", **options))
    for place in data.draw(st.lists(st.integers(0, 700), max_size=3)):
        body[place % len(body)] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))]
    size = plain_size(bytes(body))
    try:
        image = Image.open(io.BytesIO(body))
    except Exception:  # a corrupt table; decoding rejects it
        return
    assert size in (None, image.size)
    assert size is None or (image.mode in ("RGB", "L") and "progressive" not in image.info)
