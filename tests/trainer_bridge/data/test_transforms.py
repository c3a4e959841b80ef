"""Crops lie within the picture, whatever its shape, and are functions of the generator."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sharding.resize import compiled
from trainer_bridge.data.transforms import random_resized_crop, whole

sides = st.one_of(st.integers(1, 3), st.integers(4, 90))


@given(sides, sides, st.floats(0.01, 1.0), st.integers(0, 99))
def test_a_crop_has_only_colours_of_the_picture_and_comes_again(width: int, height: int, least_area: float, seed: int) -> None:
    """Red tells the column and green the row, so the ranges of both tell the box."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([100 + columns, 10 + rows, columns * 0 + 7], axis=-1).astype(np.uint8)
    crop, again = (random_resized_crop(pixels, 16, least_area, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(crop, again) and crop.shape == (3, 16, 16) and crop.transpose(1, 2, 0).flags["C_CONTIGUOUS"]
    red, green, blue = crop.reshape(3, -1).astype(int)
    assert red.min() >= 100 and red.max() < 100 + width and green.min() >= 10 and green.max() < 10 + height and set(blue) == {7}


def test_a_picture_of_pillow_is_cropped_as_its_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    first, second = (random_resized_crop(picture, 8, 0.4, np.random.default_rng(1)) for picture in (pixels, image))
    assert np.array_equal(first, second) and np.array_equal(whole(pixels, 8), whole(image, 8))


@given(sides, sides, st.sampled_from([(3, 8, 8), (3, 8, 9), (3, 7, 7)]), st.sampled_from([np.uint8, np.float32]))
def test_a_crop_is_written_to_a_place_that_it_fits(
    width: int, height: int, shape: tuple[int, int, int], kind: type[np.generic]
) -> None:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    channels, rows, columns = shape
    place = np.zeros((rows, columns, channels), kind).transpose(2, 0, 1)
    written = random_resized_crop(pixels, 8, 0.4, np.random.default_rng(1), place)
    assert (written is place) == (shape == (3, 8, 8) and kind is np.uint8 and compiled is not None)
    assert np.array_equal(written, random_resized_crop(pixels, 8, 0.4, np.random.default_rng(1)))
    assert (written is place) or not place.any()
