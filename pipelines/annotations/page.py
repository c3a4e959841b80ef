"""A page of pictures with their boxes drawn, and the conversations beside: what a person looks at before a training."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable

from PIL import Image, ImageDraw

from infra.compat.files import open_file
from pipelines.annotations.boxes import SCALE
from pipelines.annotations.reading import Entry
from sharding.decode import decode_picture

SIDE = 480  # pixels of the longer side, as shown
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")
LOCATED = re.compile(r"(?:<ref>(?P<label>[^<]*)</ref>)?<box>(?P<boxes>\[\[[\d,\s\[\]]+\]\])</box>")
BOX = re.compile(r"\[\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})\s*\]")
STYLE = (
    "body{font:15px system-ui;margin:2em;max-width:1100px}figure{display:flex;gap:1.5em;margin:0 0 2em;align-items:flex-start}"
    "img{max-width:480px;border:1px solid #ccc}figcaption{white-space:pre-wrap;overflow-wrap:anywhere}"
)


def page(entries: Iterable[Entry], folder: str) -> str:
    """One HTML file; `folder` is where the pictures lie. A picture that cannot be read is said to be missing."""
    figures = "\n".join(_figure(entry, folder) for entry in entries)
    return f"<!doctype html><meta charset=utf-8><title>Boxes</title><style>{STYLE}</style><h1>Boxes</h1>\n{figures}\n"


def _figure(entry: Entry, folder: str) -> str:
    said = "\n\n".join(turn["value"] for turn in entry.conversations)
    caption = f"<figcaption><b>{html.escape(entry.image)}</b>\n{html.escape(said)}</figcaption>"
    if "://" in entry.image:  # others wrote it, and may name any address
        return f"<figure><p>not shown: named by a URI, which is not opened</p>{caption}</figure>"
    try:
        with open_file(f"{folder.rstrip('/')}/{entry.image}" if folder else entry.image) as handle:
            image = decode_picture(handle.read(), SIDE)
    except (OSError, ValueError) as error:
        return f"<figure><p>{html.escape(f'not shown: {error}')}</p>{caption}</figure>"
    return f'<figure><img src="data:image/jpeg;base64,{_drawn(image, said)}" alt="">{caption}</figure>'


def _drawn(image: Image.Image, said: str) -> str:
    """The picture with every box of a text on it, as base64 of a JPEG; boxes of a class have one colour."""
    image.thumbnail((SIDE, SIDE))
    pen = ImageDraw.Draw(image)
    labels: dict[str, str] = {}
    for found in LOCATED.finditer(said):
        label = found["label"] or ""
        colour = labels.setdefault(label, COLOURS[len(labels) % len(COLOURS)])
        for box in BOX.findall(found["boxes"]):
            left, top, right, bottom = (
                int(value) * side / SCALE for value, side in zip(box, (image.width, image.height) * 2, strict=True)
            )
            if left > right or top > bottom:
                continue
            pen.rectangle((left, top, right, bottom), outline=colour, width=2)
            pen.text((left + 3, top + 2), label, fill=colour)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=85)
    return base64.b64encode(data.getvalue()).decode()
