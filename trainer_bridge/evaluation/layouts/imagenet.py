"""ImageNet and its kin: a folder for each class (n01440764), and a list of their names, if there is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from infra.compat.errors import RequestError
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.layouts.layout import Layout, Place, read_json

WNID = re.compile(r"n\d{8}")
INNER = ("", "val", "ILSVRC/Data/CLS-LOC/val", "ILSVRC2012_val")  # where the folders of classes may lie
LISTS = ("LOC_synset_mapping.txt", "synset_words.txt", "synsets.txt", "words.txt")
JSON_LISTS = ("imagenet_class_index.json", "class_index.json")
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}


def _class_folders(root: Path, any_name: bool) -> list[Path]:
    """The folders of classes, in order; those of a synset's name alone unless `any_name`."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if path.is_dir() and (any_name or WNID.fullmatch(path.name)))


def _recognises(folder: Path) -> bool:
    return any(_class_folders(folder / inner, any_name=False) for inner in INNER)


def _read(place: Place) -> EvaluationSet:
    inner = (place.split,) if place.split else INNER
    roots = [place.folder / name for name in inner]
    folders = next(filter(None, (_class_folders(root, any_name) for any_name in (False, True) for root in roots)), None)
    if folders is None:
        raise RequestError(f"{roots[0]} has no folder for each class, as ImageNet has; name the folder that holds them")
    paths = [(path, folder.name) for folder in folders for path in _pictures(folder)]
    if not paths:
        raise RequestError(f"{folders[0]} and the other {len(folders) - 1} folders of classes hold no pictures")
    names = _class_names(place.folder)
    return EvaluationSet.of_files(
        [path for path, _ in paths],
        labels=[label for _, label in paths],
        class_names={folder.name: names.get(folder.name, ()) for folder in folders},
    )


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)


def _class_names(folder: Path) -> dict[str, list[str]]:
    """The names of classes by their folders', from the first list there is, in the folder or above; empty without one.

    A list has lines `n01440764 tench, Tinca tinca`, or is JSON: {"0": ["n01440764", "tench"]} or {"n01440764": "tench"}.
    """
    for place in (folder, folder.parent):
        for path in (place / name for name in (*LISTS, *JSON_LISTS)):
            if path.exists():
                return {key: names for key, names in _entries(path) if names}
    return {}


def _entries(path: Path) -> Iterator[tuple[str, list[str]]]:
    if path.suffix == ".json":
        for key, value in read_json(path).items():
            wnid, names = (value[0], value[1]) if isinstance(value, list) and len(value) == 2 else (key, value)
            yield wnid, [str(names).replace("_", " ")]
        return
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        wnid, _, names = line.replace("\t", " ").partition(" ")
        yield wnid, [name.strip() for name in names.split(",") if name.strip()]


LAYOUT = Layout(_recognises, _read)
