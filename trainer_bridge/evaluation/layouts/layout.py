"""What a layout is: how its folders are recognised and read; and what several of them share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infra.compat.errors import RequestError
from trainer_bridge.evaluation.evaluation_set import EvaluationSet

IMAGE_FOLDERS = ("images", "Images", "val2017", "val2014", "train2014", "test", "flickr30k-images", "flickr30k_images")


@dataclass(frozen=True)
class Place:
    """Where an evaluation set lies: its folder, the folder of its pictures if that is named, and the split that is read."""

    folder: Path
    images: Path | None = None
    split: str = ""

    def picture_paths(self, names: Sequence[str]) -> list[Path]:
        """The path of each picture; RequestError when none of the folders that may hold them holds the first few."""
        inner = (self.folder / name / name for name in IMAGE_FOLDERS)  # as archives unpack into a folder of their name
        folders = [self.images] if self.images else [self.folder, *(self.folder / name for name in IMAGE_FOLDERS), *inner]
        existing = [folder for folder in folders if folder.is_dir()]
        # Names may lie in several folders (COCO's train2014 and val2014), and a picture or two may be missing.
        holding = [folder for folder in existing if any((folder / name).exists() for name in names)]
        if not holding:
            raise RequestError(f"no pictures of {self.folder} are there ({names[0]} …); name their folder with --images")
        return [next((folder / name for folder in holding if (folder / name).exists()), holding[0] / name) for name in names]


@dataclass(frozen=True)
class Layout:
    """A way in which evaluation sets lie in folders.

    recognises  whether a folder is of this layout
    read        the set there; RequestError in one line when it cannot be read
    """

    recognises: Callable[[Path], bool]
    read: Callable[[Place], EvaluationSet]


def captioned(place: Place, captions: Iterable[tuple[str, str, str]], file: Path) -> EvaluationSet:
    """The set of (name of a picture, caption, language or "") in any order, read from `file`; empty captions are left out."""
    rows = [(name, caption.strip(), language) for name, caption, language in captions if caption.strip()]
    if not rows:
        raise RequestError(f"{file} holds no caption of a picture{f' of split {place.split}' if place.split else ''}")
    numbers = {name: number for number, name in enumerate(dict.fromkeys(name for name, _, _ in rows))}
    return EvaluationSet.of_files(
        place.picture_paths(list(numbers)),
        texts=[caption for _, caption, _ in rows],
        image_index=np.array([numbers[name] for name, _, _ in rows]),
        metadata=[{"language": language} if language else {} for _, _, language in rows],
    )


def choose_file(place: Place, files: Sequence[Path], split_of: Callable[[Path], str], preferred: Sequence[str] = ()) -> Path:
    """The file of the split that the place names, else of the first of those preferred; RequestError names those there are."""
    splits = {split_of(path): path for path in files}
    split = place.split or next((name for name in preferred if name in splits), next(iter(splits)) if len(splits) == 1 else "")
    if split not in splits:
        raise RequestError(f"{place.folder} has no split {split!r}; name one of {', '.join(sorted(splits))} with --split")
    return splits[split]


def read_json(path: Path) -> Any:
    """The document in a JSON file; RequestError when it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} is no JSON that can be read ({error}); fetch it again") from None
