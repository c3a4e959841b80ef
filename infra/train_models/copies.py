"""Fits the descriptors by which changed copies of pictures are found: `python -m infra.train_models copies`, minutes on one core.

Scenes are drawn: emoji, shapes and words on plain, shaded and noisy grounds. Of each there are changed copies, and the projection
is Fisher's: the directions in which scenes differ most, measured by how much copies of one scene do. Closed form, no steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps
from safetensors.numpy import save_file

from filters.duplicates.descriptors import PATH, SIZE, features
from infra.compat.paths import cache_folder
from infra.models import COPIES
from pipelines.corpus.variants import bordered, cropped, scaled
from pipelines.demo_corpus.corpus import ANNOTATIONS, FONT, debian_packages, load_emoji
from pipelines.demo_corpus.render import render
from pipelines.demo_corpus.transformations import gamma, jpeg, with_bar, with_logo
from pipelines.images.small import small_square

SCENES, COPIES_EACH, GROUNDS = 8_000, 4, 200
CANVAS = 112  # pixels of a scene
RIDGE = 0.1  # of the mean variance of copies, added to all
BATCH = 256
SIBLINGS = ((0x1F1E6, 0x1F1FF), (0x20E3, 0x20E3), (0x1F550, 0x1F567), (0x1F3FB, 0x1F3FF))  # flags, keys, clocks, shades of skin
Rng = np.random.Generator


def make() -> None:
    """Fits the projection, and writes it and its card."""
    rng = np.random.default_rng(0)
    sprites = _sprites()
    grounds = [_noise(rng) for _ in range(GROUNDS)]
    seen = []
    for _ in range(0, SCENES, BATCH):
        copies = [[_changed(scene, rng) for _ in range(COPIES_EACH)] for scene in _scenes(sprites, grounds, rng)]
        squares = np.stack([small_square(np.asarray(image)) for images in copies for image in images])
        seen.append(features(squares).reshape(-1, COPIES_EACH, features(squares[:1]).shape[1]))
    mean, projection = fitted(np.concatenate(seen))
    save_file({"mean": mean.astype(np.float16), "projection": projection.astype(np.float16)}, PATH)
    PATH.chmod(0o644)
    COPIES.mkdir(exist_ok=True)
    (COPIES / "README.md").write_text(
        CARD.format(scenes=sum(map(len, seen)), copies=COPIES_EACH, kilobytes=PATH.stat().st_size // 1000)
    )


def fitted(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean float[F] and projection float[F, SIZE] of the features float32[scenes, copies, F]."""
    mean = seen.mean(axis=(0, 1), dtype=np.float64)
    centred = seen - mean.astype(np.float32)
    of_scenes = centred.mean(axis=1).astype(np.float64)
    within = (centred - of_scenes[:, None].astype(np.float32)).reshape(-1, seen.shape[2]).astype(np.float64)
    spread = within.T @ within / len(within)
    values, vectors = np.linalg.eigh(spread + RIDGE * np.diag(spread).mean() * np.eye(len(spread)))
    whitening = vectors / np.sqrt(values)
    _, directions = np.linalg.eigh(whitening.T @ (of_scenes.T @ of_scenes / len(of_scenes)) @ whitening)
    projection = whitening @ directions[:, -SIZE:]
    return mean, projection * np.sign(projection.sum(axis=0)) / np.abs(projection).max()


def _sprites() -> list[Image.Image]:
    tree = debian_packages(cache_folder())
    emoji = load_emoji(tree / FONT, [tree / folder for folder in ANNOTATIONS])
    chosen = [each for each in emoji if not any(low <= ord(letter) <= high for letter in each.text for low, high in SIBLINGS)]
    return [image.convert("RGBA") for image in map(render, chosen) if image]


def _scenes(sprites: list[Image.Image], grounds: list[Image.Image], rng: Rng) -> list[Image.Image]:
    return [_scene(sprites, grounds, rng) for _ in range(BATCH)]


def _scene(sprites: list[Image.Image], grounds: list[Image.Image], rng: Rng) -> Image.Image:
    scene = _ground(grounds, rng)
    pen = ImageDraw.Draw(scene)
    for _ in range(rng.choice([0, 0, 0, 1, 2, 5, 12])):
        left, top, right, bottom = *rng.uniform(-10, CANVAS, 2), *rng.uniform(6, 70, 2)
        draw: Callable[..., None] = [pen.ellipse, pen.rectangle][rng.integers(2)]
        draw((left, top, left + right, top + bottom), fill=_colour(rng))
    for _ in range(rng.choice([0, 1, 1, 1, 1, 2, 3, 5])):
        sprite = sprites[rng.integers(len(sprites))]
        size = rng.uniform(0.3, 1.15) * CANVAS / max(sprite.size) * rng.uniform(0.8, 1.2, 2)
        sprite = sprite.resize((max(4, int(sprite.width * size[0])), max(4, int(sprite.height * size[1]))))
        place = [int(at) for at in rng.uniform(-0.1, 1, 2) * (CANVAS - 0.7 * np.array(sprite.size))]
        scene.paste(sprite, (place[0], place[1]), sprite)
    for _ in range(rng.choice([0, 0, 0, 0, 1, 3])):
        word = "".join(chr(letter) for letter in rng.integers(97, 123, rng.integers(1, 9)))
        pen.text(tuple(rng.uniform(0, 0.8 * CANVAS, 2)), word, fill=_colour(rng), font=_font(int(rng.choice([10, 16, 24, 40]))))
    return scene


def _ground(grounds: list[Image.Image], rng: Rng) -> Image.Image:
    kind = rng.random()
    if kind < 0.35:
        return Image.new("RGB", (CANVAS, CANVAS), "white")
    if kind < 0.5:
        return Image.new("RGB", (CANVAS, CANVAS), _colour(rng))
    if kind < 0.7:
        shade = Image.linear_gradient("L").resize((CANVAS, CANVAS)).rotate(90 * int(rng.integers(4)))
        return ImageOps.colorize(shade, _colour(rng), _colour(rng))
    ground = grounds[rng.integers(len(grounds))]
    return ImageOps.mirror(ground) if rng.random() < 0.5 else ground.copy()


def _noise(rng: Rng) -> Image.Image:
    """Colours that change at many scales, the less the finer."""
    levels = np.full((CANVAS, CANVAS, 3), rng.uniform(60, 200))
    for cells, strength in ((2, 60), (5, 50), (12, 35), (30, 20), (CANVAS, 10)):
        grid = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8)).resize(
            (CANVAS, CANVAS), Image.Resampling.BICUBIC
        )
        levels += rng.random() * strength * (np.asarray(grid) / 127.5 - 1)
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def _changed(image: Image.Image, rng: Rng) -> Image.Image:
    """A copy as the web makes them: each change now and then, by as much as it happens to be."""
    share, left, top = rng.uniform(0.8, 1), rng.random(), rng.random()
    changes: list[tuple[float, Callable[[Image.Image], Image.Image]]] = [
        (0.5, cropped(share, left, top)),
        (0.15, bordered(rng.uniform(0.01, 0.05), ("white", "black")[rng.integers(2)])),
        (0.25, with_bar(rng.uniform(0.05, 0.22))),
        (0.3, with_logo(rng.uniform(0.1, 0.3))),
        (0.3, lambda image: ImageEnhance.Brightness(image).enhance(rng.uniform(0.85, 1.15))),
        (0.3, lambda image: ImageEnhance.Contrast(image).enhance(rng.uniform(0.85, 1.15))),
        (0.2, gamma(rng.uniform(0.85, 1.18))),
        (0.2, lambda image: image.convert("L").convert("RGB")),
        (0.3, scaled(rng.uniform(0.25, 0.7))),
        (0.4, jpeg(int(rng.integers(25, 90)))),
    ]
    if rng.random() < 0.5:  # so that bars, logos and crops are met on any side
        image = image.transpose(Image.Transpose.ROTATE_180)
        return _all(changes, image, rng).transpose(Image.Transpose.ROTATE_180)
    return _all(changes, image, rng)


def _all(changes: list[tuple[float, Callable[[Image.Image], Image.Image]]], image: Image.Image, rng: Rng) -> Image.Image:
    for share, change in changes:
        if rng.random() < share:
            image = change(image)
    return image


def _colour(rng: Rng) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


CARD = """# Descriptors of copies

A linear projection of edges, brightness and colour on a coarse grid to 128 numbers ({kilobytes} kB, float16, in
`filters/duplicates/descriptors.safetensors`), by which `dedup` finds candidates for copies that no hash meets: cropped anywhere,
with a caption bar or a logo, mirrored. Each candidate is then judged by its pixels (`filters/duplicates/alignment.py`).

**Fitted** by `python -m infra.train_models copies`, in closed form, minutes on one core: {scenes} drawn scenes of Noto's emoji
(OFL), shapes and words on plain, shaded and noisy grounds, {copies} changed copies of each. No stamp, no flag, no keycap and no
clock is among them; those are what the benchmark `recall` measures with.

**Limits.** It knows drawn scenes, no photographs. It is no measure of what pictures show, and by itself takes siblings for
copies: not for use without the judgement by pixels. Copies that are turned, warped or cropped by more than a
quarter are not found.
"""
