"""Karpathy's splits of COCO, Flickr30K and Flickr8K: dataset_<name>.json beside folders of pictures."""

from __future__ import annotations

from pathlib import Path

from infra.compat.errors import RequestError
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.layouts.layout import Layout, Place, captioned, read_json


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("dataset_*.json")) or sorted(folder.glob("dataset.json"))


def _read(place: Place) -> EvaluationSet:
    files = _files(place.folder)
    if len(files) != 1:
        raise RequestError(f"{place.folder} has {len(files)} files dataset_*.json; name a folder with one")
    document = read_json(files[0])
    split = place.split or "test"
    try:
        splits = {image["split"] for image in document["images"]}
        rows = [
            ("/".join(filter(None, (image.get("filepath"), image["filename"]))), sentence["raw"], "")
            for image in document["images"]
            if image["split"] == split
            for sentence in image["sentences"]
        ]
    except (KeyError, TypeError) as error:
        raise RequestError(f"{files[0]} is no file of Karpathy's splits (no {error}); fetch it again") from None
    if split not in splits:
        raise RequestError(f"{files[0]} has no split {split!r}; name one of {', '.join(sorted(splits))} with --split")
    return captioned(place, rows, files[0])


LAYOUT = Layout(lambda folder: bool(_files(folder)), _read)
