"""Siblings that differ in colour alone, or in a small emblem, do not agree; copies do, grey ones too."""

import colorsys

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from filters.duplicates.agreement import agreement
from pipelines.corpus.settings import DedupSettings
from pipelines.demo_corpus.transformations import jpeg
from pipelines.images.small import PACKED_LOOK, look, look_square, small_square

LEAST = DedupSettings().eval_hash_agreement
FEW = settings(deadline=None, max_examples=40)
Colour = tuple[float, float, float]  # hue, lightness, saturation, 0 … 1

colours = st.tuples(st.floats(0, 1), st.floats(0.25, 0.75), st.floats(0.6, 1))
flags = st.lists(colours, min_size=2, max_size=3)


def flag(stripes: list[Colour], upright: bool) -> Image.Image:
    """Stripes, with a dark edge and a lighter pole, as drawn flags have them."""
    image = Image.new("RGB", (240, 160), "white")
    pen = ImageDraw.Draw(image)
    for number, (hue, lightness, saturation) in enumerate(stripes):
        fill = tuple(round(255 * value) for value in colorsys.hls_to_rgb(hue, lightness, saturation))
        ends = [round(16 + place * (208 if upright else 128) / len(stripes)) for place in (number, number + 1)]
        pen.rectangle((ends[0], 16, ends[1], 143) if upright else (16, ends[0], 223, ends[1]), fill=fill)
    pen.rectangle((16, 16, 223, 143), outline="#222", width=4)
    return image


def with_luma(colour: Colour, luma: float) -> Colour:
    """The colour as light as that, as eyes see it."""
    hue, _, saturation = colour
    lightnesses = np.linspace(0.05, 0.95, 181)
    lumas = [np.dot(colorsys.hls_to_rgb(hue, each, saturation), (0.299, 0.587, 0.114)) for each in lightnesses]
    return hue, float(lightnesses[np.argmin(np.abs(np.array(lumas) - luma))]), saturation


def agreed(one: Image.Image, other: Image.Image) -> float:
    squares = [look_square(look(small_square(np.asarray(image)))) for image in (one, other)]
    return agreement(*squares, min(one.size))


@FEW
@given(flags, st.booleans(), st.integers(0, 2), st.floats(0.3, 0.7), st.booleans(), st.floats(0.35, 0.65))
def test_flags_that_differ_in_the_hue_of_a_stripe_do_not_agree(
    stripes: list[Colour], upright: bool, place: int, turn: float, same_luma: bool, luma: float
) -> None:
    other = [*stripes]
    hue, lightness, saturation = stripes[place % len(stripes)]
    other[place % len(stripes)] = ((hue + turn) % 1, lightness, saturation)
    if same_luma:
        stripes, other = ([with_luma(each, luma) for each in of_flag] for of_flag in (stripes, other))
    assert agreed(flag(stripes, upright), flag(other, upright)) < LEAST


@FEW
@given(flags, st.booleans(), st.sampled_from(["grey", "jpeg", "paler", "brighter", "small"]))
def test_a_changed_copy_of_a_flag_agrees(stripes: list[Colour], upright: bool, change: str) -> None:
    # What is brightened beyond white is another colour: two stripes alike but for that may become one.
    assume(change != "brighter" or all(max(colorsys.hls_to_rgb(*stripe)) <= 1 / 1.1 for stripe in stripes))
    image = flag(stripes, upright)
    changed = {
        "grey": lambda: image.convert("L").convert("RGB"),
        "jpeg": lambda: jpeg(30)(image),
        "paler": lambda: ImageEnhance.Color(image).enhance(0.85),
        "brighter": lambda: ImageEnhance.Brightness(image).enhance(1.1),
        "small": lambda: image.resize((60, 40), Image.Resampling.LANCZOS),
    }[change]()
    assert agreed(changed, image) >= LEAST


@FEW
@given(flags, st.booleans(), st.floats(0.4, 0.6), st.floats(0.4, 0.6))
def test_an_emblem_in_the_middle_makes_another_picture(stripes: list[Colour], upright: bool, x: float, y: float) -> None:
    plain = flag(stripes, upright)
    emblem = plain.copy()
    centre = (240 * x, 160 * y)
    light = plain.convert("L").getpixel((round(centre[0]), round(centre[1]))) > 128
    ImageDraw.Draw(emblem).regular_polygon((*centre, 16), 5, fill="black" if light else "white")
    assert agreed(emblem, plain) < LEAST


def test_a_look_is_its_picture_but_for_detail() -> None:
    image = flag([(0.6, 0.4, 0.9), (0.1, 0.5, 0.9)], True)
    values = look(small_square(np.asarray(image)))
    assert values.shape == (PACKED_LOOK,) and look_square(values).shape == (64, 64, 3)
    assert np.abs(look_square(values).astype(int) - small_square(np.asarray(image))).mean() < 12
