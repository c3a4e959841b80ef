"""Sentences of the demo, and pictures of its stamps on pages, with clean and with noisy captions.

A picture is a stamp at a place, of a size, on a page of a colour, so that held-out pictures show known things anew. A noisy
caption is of another stamp half of the time, or has words of web pages around it, as alt texts have.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from infra.compat.paths import cache_folder
from pipelines.demo_corpus.corpus import Picture, debian_pictures
from pipelines.demo_corpus.render import render, rng

SIDE, THINGS, PAGES, HELD_OUT_PAGES = 64, 48, 12, 3  # pixels of a tile; stamps; pictures of each
QUESTION = "Provide a one-sentence caption for the image."
COLOURS = ((255, 255, 255), (240, 230, 210), (210, 230, 245), (220, 240, 215), (60, 60, 70))
AROUND = (
    "{} | free clip art",
    "IMG_2041 {}",
    "{} - buy online, free shipping",
    "home > pictures > {}",
    "{} stock photo",
)
HELD_OUT = 10  # of sentences one in so many


def write_corpus(folder: Path) -> None:
    """Writes `clean.jsonl`, `noisy.jsonl` and `heldout.jsonl` with their pictures, and `sentences.json`."""
    pictures = debian_pictures(cache_folder())
    things = _things(pictures)
    (folder / "pictures").mkdir(parents=True)
    sets: dict[str, list[dict[str, object]]] = {"clean": [], "noisy": [], "heldout": []}
    for number, (drawing, sentence) in enumerate(things):
        for page in range(PAGES + HELD_OUT_PAGES):
            name = f"pictures/{number}-{page}.jpg"
            (folder / name).write_bytes(_page(drawing, number, page))
            if page >= PAGES:
                sets["heldout"].append(_entry(name, sentence))
            else:
                sets["clean"].append(_entry(name, sentence))
                sets["noisy"].append(_entry(name, _noisy(sentence, [text for _, text in things], number, page)))
    for name, entries in sets.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    known = {sentence for _, sentence in things}
    others = sorted({dict(picture.sentences)["en"] for picture in pictures} - known)
    held_out = rng("sentences").sample(others, len(others) // HELD_OUT)
    split = {"heldout": held_out, "train": [*sorted({*others} - {*held_out}), *sorted(known)]}
    (folder / "sentences.json").write_text(json.dumps(split))


def _things(pictures: Sequence[Picture]) -> list[tuple[Image.Image, str]]:
    """Stamps that can be drawn, with their sentences, each sentence once."""
    stamps = [picture for picture in pictures if not picture.text]
    things: dict[str, Image.Image] = {}
    for stamp in rng("things").sample(stamps, len(stamps)):
        sentence = dict(stamp.sentences)["en"]
        if len(things) < THINGS and sentence not in things and len(sentence) < 60 and (drawing := render(stamp)) is not None:
            things[sentence] = drawing
    return [(drawing, sentence) for sentence, drawing in things.items()]


def _page(drawing: Image.Image, number: int, page: int) -> bytes:
    draws = rng("page", number, page)
    size = draws.randint(SIDE * 5 // 8, SIDE)
    small = drawing.copy()
    small.thumbnail((size, size))
    canvas = Image.new("RGB", (SIDE, SIDE), draws.choice(COLOURS))
    canvas.paste(small, (draws.randint(0, SIDE - small.width), draws.randint(0, SIDE - small.height)))
    encoded = io.BytesIO()
    canvas.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def _noisy(sentence: str, others: Sequence[str], number: int, page: int) -> str:
    draws = rng("noise", number, page)
    return draws.choice(AROUND).format(draws.choice(others) if draws.random() < 0.5 else sentence)


def _entry(picture: str, caption: str) -> dict[str, object]:
    turns = [{"from": "human", "value": f"<image>\n{QUESTION}"}, {"from": "gpt", "value": caption}]
    return {"image": picture, "conversations": turns}
