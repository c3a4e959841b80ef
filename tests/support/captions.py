"""The labelled captions of `tests/data/captions`: a file per language, headings `=== CONCERN` (or good, weak), then captions."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent.parent / "data" / "captions"


class Labelled(NamedTuple):
    """A caption, its language, and the concern of the rules that should drop it.

    `good` says what a picture shows, `weak` little of it (a product, a name, a title, a quotation): no rule should drop either.
    """

    language: str
    concern: str
    caption: str


def labelled_captions() -> list[Labelled]:
    """All labelled captions, in the order of their languages."""
    rows = []
    for path in sorted(FOLDER.glob("*.txt")):
        concern = ""
        for line in path.read_text(encoding="utf-8").split("\n"):
            if line.startswith("=== "):
                concern = line.removeprefix("=== ")
            elif line:
                rows.append(Labelled(path.stem, concern, line))
    return rows
