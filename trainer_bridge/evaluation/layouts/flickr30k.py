"""Flickr30K and Flickr8K: a table of pictures and captions (results.csv, captions.txt, *.token, flickr_annotations_30k.csv)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from infra.compat.errors import RequestError
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.layouts.layout import Layout, Place, captioned

NAMES = ("results*.csv", "captions.txt", "captions.csv", "*.token", "flickr_annotations_30k.csv", "flickr30k_*.csv")
PICTURE, CAPTION = ("image_name", "image", "filename"), ("comment", "caption", "raw")


def _files(folder: Path) -> list[Path]:
    return sorted({path for name in NAMES for path in folder.glob(name)})


def _read(place: Place) -> EvaluationSet:
    files = _files(place.folder)
    if len(files) != 1:
        names = ", ".join(path.name for path in files) or "none"
        raise RequestError(f"{place.folder} must have one table of captions ({', '.join(NAMES)}); it has {names}")
    try:
        text = files[0].read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{files[0]} cannot be read ({error}); fetch it again") from None
    rows = _tokens(text) if files[0].suffix == ".token" else _table(text, files[0], place.split)
    return captioned(place, rows, files[0])


def _tokens(text: str) -> Iterator[tuple[str, str, str]]:
    """Lines `1000092795.jpg#0<tab>caption`."""
    for line in text.splitlines():
        name, _, caption = line.partition("\t")
        yield name.partition("#")[0], caption, ""


def _table(text: str, path: Path, split: str) -> Iterator[tuple[str, str, str]]:
    """Rows with a header, separated by commas, or by bars, as in results.csv, whose captions are not quoted."""
    bars = "|" in text.partition("\n")[0]
    lines = csv.reader(io.StringIO(text), delimiter="|", quoting=csv.QUOTE_NONE) if bars else csv.reader(io.StringIO(text))
    header = [name.strip() for name in next(lines, [])]
    columns = [next((header.index(name) for name in names if name in header), None) for names in (PICTURE, CAPTION)]
    picture, caption = columns
    if picture is None or caption is None:
        raise RequestError(f"{path} has columns {', '.join(header)}; it needs one of {', '.join(PICTURE)}, and a caption")
    of_split = header.index("split") if "split" in header else None
    chosen = split or "test"
    for row in lines:
        if len(row) <= max(picture, caption) or (of_split is not None and row[of_split] != chosen):
            continue  # one row of results.csv is cut off before its caption
        for text in _captions(row[caption]):
            yield row[picture].strip(), text, ""


def _captions(cell: str) -> list[str]:
    """The captions in a cell: one, or a JSON list of them, as in flickr_annotations_30k.csv."""
    if cell.startswith("["):
        try:
            return [str(text) for text in json.loads(cell)]
        except ValueError:
            pass
    return [cell]


LAYOUT = Layout(lambda folder: bool(_files(folder)), _read)
