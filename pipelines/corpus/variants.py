"""What is indexed of each evaluation picture besides itself, so that changed copies meet it.

A hash forgives a JPEG of low quality, but no mirroring and no border. Each variant is a row more in the file of a set, and costs
nothing per picture of the corpus. That of a border or crop also meets those of about its width.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageOps

Transformation = Callable[[Image.Image], Image.Image]
FULL = 512  # pixels of the longer side, beyond which hashes do not change: larger pictures are reduced to less than twice that


def scaled(factor: float) -> Transformation:
    """Of another size, by a factor."""

    def scale(image: Image.Image) -> Image.Image:
        size = (max(8, round(image.width * factor)), max(8, round(image.height * factor)))
        return image.resize(size, Image.Resampling.LANCZOS)

    return scale


def bordered(share: float, colour: str) -> Transformation:
    """With a border, a share of the longer side wide."""
    return lambda image: ImageOps.expand(image, max(1, round(share * max(image.size))), colour)


def cropped(share: float, left: float = 0.5, top: float = 0.5) -> Transformation:
    """A share of each side is kept; `left` and `top` of what goes, 0 … 1, go there."""

    def crop(image: Image.Image) -> Image.Image:
        width, height = max(1, round(image.width * share)), max(1, round(image.height * share))
        x, y = round((image.width - width) * left), round((image.height - height) * top)
        return image.crop((x, y, x + width, y + height))

    return crop


VARIANTS: dict[str, Transformation] = {
    "mirrored": ImageOps.mirror,
    "white_border": bordered(0.02, "white"),
    "black_border": bordered(0.02, "black"),
    "cropped": cropped(0.9),
    "small": scaled(0.25),
}


def with_variants(image: Image.Image, names: tuple[str, ...]) -> list[Image.Image]:
    """An RGB picture, then its variants of these names."""
    base = image.reduce(max(1, max(image.size) // FULL))
    return [image, *(VARIANTS[name](base) for name in names)]
