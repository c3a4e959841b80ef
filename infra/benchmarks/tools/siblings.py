"""Pictures of a kind that are alike and not the same: coins, chess pieces, flags, keycaps, clocks, covers of books in series.

Flags that are another's (Norway's of Svalbard) are left out, and clocks past six, which are mirror images of earlier ones.
"""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from infra.compat.paths import cache_folder
from pipelines.demo_corpus.corpus import ANNOTATIONS, FONT, STAMPS, debian_packages, load_emoji

SAME_FLAGS = ("BV", "SJ", "HM", "UM", "EA", "CP", "MF", "DG", "ID", "TD")  # as NO, NO, AU, US, ES, FR, FR, IO, MC, RO
FIRST_LETTER, CLOCKS, KEYCAP = 0x1F1E6, range(0x1F550, 0x1F556), "\ufe0f\u20e3"
SERIES, BOOKS = 10, 15  # series of books, and books of each
EMOJI_PIXELS = 109  # the one size at which the font holds bitmaps
WORDS = "river stone night garden winter silver shadow house light memory ocean glass fire bird tree king road song paper moon"


def siblings() -> dict[str, list[Image.Image]]:
    """Kind → pictures, RGB."""
    tree = debian_packages(cache_folder())
    letters = [each.text for each in load_emoji(tree / FONT, [tree / folder for folder in ANNOTATIONS])]
    font = ImageFont.truetype(str(tree / FONT), EMOJI_PIXELS)
    same = {"".join(chr(FIRST_LETTER + ord(letter) - ord("A")) for letter in code) for code in SAME_FLAGS}
    flags = [text for text in letters if FIRST_LETTER <= ord(text[0]) < FIRST_LETTER + 26 and text not in same]
    others = {
        "flags": flags,
        "keycaps": [key + KEYCAP for key in "0123456789*#"],
        "clocks": [text for text in letters if ord(text[0]) in CLOCKS],
    }
    found = {kind: [drawn for text in texts if (drawn := _emoji(text, font))] for kind, texts in others.items()}
    symbols = tree / STAMPS / "symbols"
    found |= {kind: _stamps(symbols / folder) for kind, folder in {"coins": "money", "chess": "chess"}.items()}
    return {**found, "books": [_cover(series, book) for series in range(SERIES) for book in range(BOOKS)]}


def _emoji(text: str, font: ImageFont.FreeTypeFont) -> Image.Image | None:
    left, top, right, bottom = map(round, font.getbbox(text))
    if not 20 < right - left < 150:  # a sequence that the font cannot join
        return None
    drawing = Image.new("RGB", (right - left, bottom - top), "white")
    ImageDraw.Draw(drawing).text((-left, -top), text, font=font, embedded_color=True)
    return ImageOps.expand(drawing, 6, "white")


def _stamps(folder: Path) -> list[Image.Image]:
    images = []
    for path in sorted(folder.rglob("*.png")):
        stamp = Image.open(path).convert("RGBA")
        white = Image.new("RGBA", stamp.size, "white")
        images.append(ImageOps.expand(Image.alpha_composite(white, stamp).convert("RGB"), 4, "white"))
    return images


def _cover(series: int, book: int) -> Image.Image:
    """A cover: frame and colours are the series', title, author and figure the book's."""
    of_series, rng = random.Random(series), random.Random(1000 + BOOKS * series + book)
    ground, ink = (tuple(of_series.randrange(256) for _ in range(3)) for _ in range(2))
    cover = Image.new("RGB", (300, 450), ground)
    pen, words = ImageDraw.Draw(cover), WORDS.split()
    pen.rectangle((12, 12, 288, 438), outline=ink, width=5)
    pen.text((30, 30), f"{rng.choice(words)}\n{rng.choice(words)}".title(), ink, ImageFont.load_default(48))
    pen.text((30, 390), rng.choice(words).upper(), ink, ImageFont.load_default(28))
    for _ in range(4):
        left, top = rng.randrange(40, 180), rng.randrange(150, 300)
        box = (left, top, left + rng.randrange(20, 90), top + rng.randrange(20, 80))
        (pen.ellipse if rng.random() < 0.5 else pen.rectangle)(box, fill=tuple(rng.randrange(256) for _ in range(3)))
    return cover
