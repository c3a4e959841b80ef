"""A JPEG at an eighth of its size has libjpeg-turbo's pixels, and one that libjpeg-turbo complains about is left to it."""

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.images.eighth import compiled, eighth
from tests import ROOT
from tests.support.images import encoded, smooth, turned_exif

pytestmark = pytest.mark.skipif(compiled is None, reason="installed without a C compiler")
SAMPLINGS = st.sampled_from([0, 1, 2])  # Pillow's names of 4:4:4, 4:2:2 and 4:2:0
QUALITIES = st.integers(1, 100)


def picture(width: int, height: int, seed: int, noise: float) -> Image.Image:
    """Smooth colours and noise, which fills blocks to their last coefficient."""
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.blend(smooth(width, height), Image.fromarray(levels), noise)


def by_libjpeg(body: bytes) -> np.ndarray:
    """ValueError for a damaged one. Below 5 pixels several scales give the same size, of which simplejpeg takes another."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(body)
    size = {"min_height": -(-height // 8), "min_width": -(-width // 8)}
    return simplejpeg.decode_jpeg(body, "RGB", fastupsample=True, **size)


@settings(deadline=None, max_examples=400)
@given(
    st.integers(5, 150),
    st.integers(5, 150),
    st.integers(0, 99),
    st.floats(0, 1),
    SAMPLINGS,
    QUALITIES,
    st.booleans(),
    st.booleans(),
)
def test_a_plain_jpeg_has_the_same_pixels(
    width: int, height: int, seed: int, noise: float, sampling: int, quality: int, optimize: bool, grey: bool
) -> None:
    image = picture(width, height, seed, noise).convert("L" if grey else "RGB")
    body = encoded(image, "JPEG", quality=quality, subsampling=sampling, optimize=optimize)
    pixels = eighth(body)
    assert pixels is not None and (pixels == by_libjpeg(body)).all()


@settings(deadline=None, max_examples=400)
@given(st.data(), SAMPLINGS, st.sampled_from([10, 75, 100]), st.booleans())
def test_a_damaged_jpeg_has_the_same_pixels_or_is_left_to_libjpeg(
    data: st.DataObject, sampling: int, quality: int, in_header: bool
) -> None:
    body = bytearray(encoded(picture(70, 50, 1, 0.3), "JPEG", quality=quality, subsampling=sampling))
    end = body.index(b"\xff\xda") + 14 if in_header else len(body)
    for place in data.draw(st.lists(st.integers(0, end - 1), min_size=1, max_size=3)):
        body[place] = data.draw(st.integers(0, 255))
    damaged = bytes(body[: data.draw(st.integers(1, len(body))) if data.draw(st.booleans()) else None])
    pixels = eighth(damaged)
    assert pixels is None or (pixels == by_libjpeg(damaged)).all()


def test_tables_of_another_picture_are_not_taken_for_its_own() -> None:
    """Tables are kept from one picture to the next; a picture that lacks its own must not get those."""
    body = encoded(picture(64, 64, 0, 0.2), "JPEG", optimize=True)
    assert eighth(body) is not None
    at = body.index(b"\xff\xc4")
    (length,) = struct.unpack_from(">H", body, at + 2)
    assert eighth(body[:at] + body[at + 2 + length :]) is None


@pytest.mark.parametrize("table", [0x00, 0x10])  # of the constant coefficients, of the others
def test_a_table_without_codes_is_refused(table: int) -> None:
    """In a process that has decoded nothing before, whose tables are as empty: such a JPEG was decoded for ever."""
    body = encoded(smooth(64, 64).convert("L"), "JPEG")
    at = body.index(b"\xff\xc4")
    while body[at + 4] != table:
        at = body.index(b"\xff\xc4", at + 2)
    (length,) = struct.unpack_from(">H", body, at + 2)
    empty = body[: at + 2] + struct.pack(">HB", 19, table) + bytes(16) + body[at + 2 + length :]
    script = "import sys; from pipelines.images.eighth import eighth; print(eighth(bytes.fromhex(sys.argv[1])))"
    finished = subprocess.run([sys.executable, "-c", script, empty.hex()], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert finished.stdout == "None\n", finished.stderr


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xd8",
        b"GIF89a",
        encoded(smooth(90, 60), "JPEG", progressive=True),
        encoded(smooth(90, 60).convert("CMYK"), "JPEG"),
        encoded(smooth(90, 60), "JPEG", restart_marker_blocks=2),
        encoded(smooth(90, 60), "JPEG", keep_rgb=True),
        encoded(smooth(90, 60), "PNG"),
    ],
)
def test_what_is_not_plain_is_left_to_libjpeg(body: bytes) -> None:
    assert eighth(body) is None


def test_exif_profiles_and_what_lies_behind_the_picture_change_nothing() -> None:
    image = picture(120, 90, 3, 0.3)
    plain = eighth(encoded(image, "JPEG", quality=80))
    body = encoded(image, "JPEG", quality=80, exif=turned_exif(), icc_profile=b"p" * 70_000, comment=b"c") + b"behind"
    pixels = eighth(body)
    assert plain is not None and pixels is not None and (plain == pixels).all()
    assert Image.open(io.BytesIO(body)).size == (120, 90)
