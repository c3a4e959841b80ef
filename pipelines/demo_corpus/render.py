"""Renders pictures to the formats and sizes the web has. A picture's rendering is a function of its key alone."""

from __future__ import annotations

import io
import random
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import xxhash
from PIL import Image, ImageDraw, ImageFont

from pipelines.demo_corpus.corpus import Picture

FORMATS = ("jpg",) * 7 + ("png",) + ("webp",) * 2
EMOJI_PIXELS = 109  # the one size at which the font holds bitmaps
BACKGROUNDS = ((255, 255, 255), (250, 248, 240), (238, 242, 247), (226, 232, 226), (40, 44, 52))


def rng(*key: object) -> random.Random:
    """A random generator that depends on `key` alone."""
    return random.Random(xxhash.xxh3_64_intdigest(repr(key).encode()))


def extension(picture: Picture) -> str:
    """The format the picture is published in."""
    return rng("format", picture.key).choice(FORMATS)


def render(picture: Picture) -> Image.Image | None:
    """The picture as RGB pixels of a web-like size (200 to 720 px on the longer side); None when it cannot be drawn."""
    drawing = _emoji(picture) if picture.text else _file(picture)
    if drawing is None:
        return None
    chance = rng("size", picture.key)
    longer = chance.choice((200, 240, 320, 400, 480, 560, 640, 720))
    box = drawing.getbbox() or (0, 0, 1, 1)
    drawing = drawing.crop(box)
    scale = 0.86 * longer / max(drawing.size)
    width, height = (max(1, round(side * scale)) for side in drawing.size)
    drawing = drawing.resize((width, height), Image.Resampling.LANCZOS)
    canvas = (max(width + longer // 8, longer // 3), max(height + longer // 8, longer // 3))
    background = BACKGROUNDS[0] if chance.random() < 0.7 else chance.choice(BACKGROUNDS)
    page = Image.new("RGB", canvas, background)
    page.paste(drawing, ((canvas[0] - width) // 2, (canvas[1] - height) // 2), drawing)
    return page


def _file(picture: Picture) -> Image.Image | None:
    try:
        return _svg(picture.file) if picture.file.endswith(".svg") else Image.open(picture.file).convert("RGBA")
    except (OSError, ValueError, SyntaxError):
        return None


def _svg(path: str) -> Image.Image | None:
    """The drawing at 480 px width; None where a second drawing, without the machine's fonts, differs.

    Text is drawn in whatever font the machine has, and with several the choice may change from run to run: such a drawing would
    change the bytes of every shard after it.
    """
    import resvg_py

    first, second = (
        bytes(resvg_py.svg_to_bytes(svg_path=path, width=480, skip_system_fonts=skip_fonts)) for skip_fonts in (False, True)
    )
    return Image.open(io.BytesIO(first)).convert("RGBA") if first == second else None


@cache
def _font(path: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, EMOJI_PIXELS)


def _emoji(picture: Picture) -> Image.Image | None:
    font = _font(picture.file)
    left, top, right, bottom = font.getbbox(picture.text)
    # A sequence the font cannot join is drawn as several glyphs side by side: not the picture its name describes.
    if right - left < 20 or right - left > 150:
        return None
    drawing = Image.new("RGBA", (round(right - left), round(bottom - top)))
    ImageDraw.Draw(drawing).text((-left, -top), picture.text, font=font, embedded_color=True)
    return drawing if drawing.getbbox() else None


def encode(image: Image.Image, extension: str, quality: int = 88) -> bytes:
    """The image's bytes in the format its file name will claim."""
    data = io.BytesIO()
    match extension:
        case "jpg":
            image.save(data, "JPEG", quality=quality)
        case "png":
            image.save(data, "PNG", compress_level=3)
        case "webp":
            image.save(data, "WEBP", quality=quality, method=1)
        case _:
            raise ValueError(f"no encoder for {extension}")
    return data.getvalue()


def _render_to(picture: Picture, folder: str) -> tuple[str, str, int, int] | None:
    image = render(picture)
    if image is None:
        return None
    path = Path(folder) / f"{picture.key}.{extension(picture)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(image, extension(picture)))
    return picture.key, path.relative_to(folder).as_posix(), image.width, image.height


def render_all(pictures: list[Picture], folder: Path) -> dict[str, tuple[str, int, int]]:
    """Renders into `folder` on all cores; key → (path below it, width, height) of those that could be drawn."""
    from functools import partial

    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        done = pool.map(partial(_render_to, folder=str(folder)), pictures, chunksize=16)
        return {key: (path, width, height) for key, path, width, height in filter(None, done)}
