"""COCO: annotations/captions_<split>.json beside folders of pictures."""

from __future__ import annotations

from pathlib import Path

from infra.compat.errors import RequestError
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.layouts.layout import Layout, Place, captioned, choose_file, read_json

PREFIX, PREFERRED = "captions_", ("val2017", "val2014")


def _files(folder: Path) -> list[Path]:
    return sorted([*folder.glob(f"annotations/{PREFIX}*.json"), *folder.glob(f"{PREFIX}*.json")])


def _read(place: Place) -> EvaluationSet:
    files = _files(place.folder)
    if not files:
        raise RequestError(f"{place.folder} has no annotations/{PREFIX}<split>.json; name COCO's folder")
    path = choose_file(place, files, lambda path: path.stem.removeprefix(PREFIX), PREFERRED)
    document = read_json(path)
    try:
        names = {image["id"]: image["file_name"] for image in document["images"]}
        rows = [(names[row["image_id"]], row["caption"], "") for row in document["annotations"]]
    except (KeyError, TypeError) as error:
        raise RequestError(f"{path} is no caption file of COCO (no {error}); name another layout with --layout") from None
    return captioned(place, rows, path)


LAYOUT = Layout(lambda folder: bool(_files(folder)), _read)
