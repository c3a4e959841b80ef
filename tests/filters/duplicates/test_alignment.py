"""Copies agree wherever they were cropped and whatever was added to a side; siblings do not."""

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from filters.duplicates.agreement import agreement
from filters.duplicates.alignment import SIDE
from filters.duplicates.descriptors import SIZE, descriptors
from pipelines.corpus.variants import cropped
from pipelines.demo_corpus.transformations import with_bar, with_logo
from pipelines.images.small import PACKED, packed, small_square, unpacked

FEW = settings(deadline=None, max_examples=15)
LEAST = 0.8  # as README recommends for dedup.eval_agreement


@cache
def scene(seed: int) -> Image.Image:
    """Coloured shapes on a plain ground."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (200, 150), tuple(rng.integers(100, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for number in range(14):
        left, top, width, height = (rng.uniform(0, 1, 4) * (170, 120, 70, 60)).tolist()
        draw = pen.ellipse if number % 2 else pen.rectangle
        draw((left, top, left + 8 + width, top + 8 + height), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return image


def square(image: Image.Image) -> np.ndarray:
    return small_square(np.asarray(image))


shares = st.floats(0, 1)


@FEW
@given(st.integers(0, 9), st.floats(0.85, 1), shares, shares, st.booleans(), st.floats(0.9, 1.1))
def test_a_copy_cropped_anywhere_agrees(
    seed: int, share: float, left: float, top: float, mirrored: bool, brightness: float
) -> None:
    image = cropped(share, left, top)(scene(seed))
    image = ImageEnhance.Brightness(ImageOps.mirror(image) if mirrored else image).enhance(brightness)
    assert agreement(square(image), square(scene(seed))) > LEAST
    assert agreement(square(image.convert("L").convert("RGB")), square(scene(seed))) > LEAST


@FEW
@given(st.integers(0, 9), st.floats(0.06, 0.22), st.booleans())
def test_a_caption_bar_and_a_logo_cost_little(seed: int, height: float, above: bool) -> None:
    barred = with_bar(height)(scene(seed).transpose(Image.Transpose.ROTATE_180) if above else scene(seed))
    barred = barred.transpose(Image.Transpose.ROTATE_180) if above else barred
    assert agreement(square(barred), square(scene(seed))) > LEAST
    assert agreement(square(with_logo(0.2)(scene(seed))), square(scene(seed))) > LEAST


@FEW
@given(st.integers(0, 40), st.integers(0, 40))
def test_other_pictures_and_other_colours_do_not_agree(first: int, second: int) -> None:
    if first != second:
        assert agreement(square(scene(first)), square(scene(second))) < 0.7
    turned = Image.fromarray(np.asarray(scene(first))[..., [1, 2, 0]])
    assert agreement(square(turned), square(scene(first))) < LEAST


def test_plain_pictures_have_nothing_to_agree_in_but_the_same_one_agrees() -> None:
    white, almost, black = (np.full((SIDE, SIDE, 3), value, np.uint8) for value in (255, 254, 0))
    assert agreement(white, black) == agreement(white, almost) == 0
    assert agreement(white, white) == 1


def test_the_descriptor_of_a_copy_is_nearer_than_that_of_any_other_picture() -> None:
    items = descriptors(np.stack([square(scene(seed)) for seed in range(40)]))
    assert items.shape == (40, SIZE) and np.allclose(np.linalg.norm(items, axis=1), 1, atol=1e-5)
    mirrored = descriptors(np.stack([square(scene(seed))[:, ::-1] for seed in range(40)]))
    assert np.abs(items - mirrored).max() < 1e-4
    for change in (cropped(0.9, 0.2, 0.8), with_bar(0.12), with_logo(0.2)):
        changed = descriptors(np.stack([square(change(scene(seed))) for seed in range(40)]))
        assert (np.argmax(changed @ items.T, axis=1) == np.arange(40)).mean() > 0.9


def test_a_packed_square_is_the_square_but_for_fine_colour() -> None:
    image = square(scene(3))
    values = packed(image)
    assert values.shape == (PACKED,) and agreement(unpacked(values), image) > 0.85
    grey = square(scene(3).convert("L").convert("RGB"))
    assert np.abs(unpacked(packed(grey)).astype(int) - grey).max() <= 1
