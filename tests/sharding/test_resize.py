"""The compiled resizer and NumPy's give the same bytes, within two grey levels of Pillow's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sharding.resize import VECTOR_BYTES, compiled, cropped, cropped_by_numpy, resized, resized_by_numpy

sides = st.one_of(st.integers(1, 40), st.integers(41, 300))
kinds = st.sampled_from(["noise", "extremes", "slope"])


def picture(width: int, height: int, kind: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "slope":
        return np.linspace(0, 255, height * width * 3).astype(np.uint8).reshape(height, width, 3)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.where(pixels > 127, 255, 0).astype(np.uint8) if kind == "extremes" else pixels


@pytest.mark.skipif(compiled is None, reason="installed without a C compiler")
@settings(deadline=None, max_examples=400)
@given(sides, sides, sides, sides, kinds, st.booleans(), st.integers(0, 9))
def test_compiled_and_numpy_give_the_same_bytes_on_every_processor(
    width: int, height: int, wide: int, tall: int, kind: str, cubic: bool, seed: int
) -> None:
    pixels = picture(width, height, kind, seed)
    expected = resized_by_numpy(pixels, (wide, tall), cubic=cubic)
    for vector_bytes in (1, 32, VECTOR_BYTES):
        result = np.full(expected.shape, 77, np.uint8)
        compiled.resize(pixels, height, width, result, tall, wide, cubic, vector_bytes)
        assert np.array_equal(result, expected)
    assert np.array_equal(resized(pixels, (wide, tall), cubic=cubic), expected)


@settings(deadline=None, max_examples=100)
@given(st.integers(2, 200), st.integers(2, 200), st.floats(0.1, 1.0), kinds, st.booleans())
def test_the_result_is_that_of_pillow(width: int, height: int, scale: float, kind: str, cubic: bool) -> None:
    pixels = picture(width, height, kind)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    filter = Image.Resampling.BICUBIC if cubic else Image.Resampling.BOX
    rows = Image.fromarray(pixels).resize((width, size[1]), filter)  # Pillow alone resizes the width first
    assert np.abs(resized(pixels, size, cubic=cubic) - np.asarray(rows.resize(size, filter), np.int32)).max() <= 2


@st.composite
def boxes(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int, int]]:
    """A width, a height, and a box of at least one pixel within."""
    width, height = draw(sides), draw(sides)
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return width, height, (left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height)))


@pytest.mark.skipif(compiled is None, reason="installed without a C compiler")
@settings(deadline=None, max_examples=200)
@given(boxes(), sides, sides, kinds, st.integers(0, 9))
def test_a_crop_is_the_same_by_c_and_numpy_and_close_to_pillows(
    place: tuple[int, int, tuple[int, int, int, int]], wide: int, tall: int, kind: str, seed: int
) -> None:
    width, height, box = place
    pixels = picture(width, height, kind, seed)
    expected = cropped_by_numpy(pixels, box, (wide, tall))
    for vector_bytes in (1, 32, VECTOR_BYTES):
        result = np.full(expected.shape, 77, np.uint8)
        compiled.crop(pixels, height, width, box, result, tall, wide, vector_bytes)
        assert np.array_equal(result, expected)
    assert np.array_equal(cropped(pixels, box, (wide, tall)), expected)
    image = Image.fromarray(pixels).crop(box)
    rows = image.resize((image.width, tall), Image.Resampling.BILINEAR)
    assert np.abs(expected - np.asarray(rows.resize((wide, tall), Image.Resampling.BILINEAR), np.int32)).max() <= 2


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 40), st.integers(0, 255), st.booleans())
def test_one_colour_stays_that_colour(long: int, side: int, level: int, cubic: bool) -> None:
    pixels = np.full((long, side, 3), level, np.uint8)
    assert (resized(pixels, (17, 32), cubic=cubic) == level).all()


def test_the_same_size_is_the_same_image() -> None:
    pixels = picture(61, 47, "noise")
    for cubic in (True, False):
        assert np.array_equal(resized(pixels, (61, 47), cubic=cubic), pixels)


def test_pixels_that_are_not_contiguous_are_resized_too() -> None:
    pixels = picture(60, 40, "noise")
    turned = pixels.transpose(1, 0, 2)
    assert np.array_equal(resized(turned, (20, 30), cubic=True), resized(turned.copy(), (20, 30), cubic=True))


@pytest.mark.skipif(compiled is None, reason="installed without a C compiler")
def test_buffers_of_another_size_are_rejected() -> None:
    with pytest.raises(ValueError, match="3 bytes a pixel"):
        compiled.resize(bytes(11), 2, 2, bytearray(12), 2, 2, True, 1)
    with pytest.raises(ValueError, match="3 bytes a pixel"):
        compiled.resize(bytes(12), 2, 2, bytearray(12), 0, 2, True, 1)
    with pytest.raises(TypeError, match="read-write"):
        compiled.resize(bytes(12), 2, 2, bytes(12), 2, 2, True, 1)
    for box in ((0, 0, 0, 1), (-1, 0, 1, 1), (0, 0, 3, 1), (0, 1, 1, 1), (0, 0, 1, 3)):
        with pytest.raises(ValueError, match="outside of the image"):
            compiled.crop(bytes(12), 2, 2, box, bytearray(12), 2, 2, 1)
