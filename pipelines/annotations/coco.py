"""COCO's and Objects365's JSON → detection: one conversation a picture, one line a class, all of its boxes.

The file is one JSON object, of many gigabytes for Objects365, whose annotations are in no order of pictures. It is read piece by
piece into columns (32 bytes a box), which are sorted by picture.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

from infra.compat.errors import RequestError
from infra.compat.files import open_file
from pipelines.annotations.phrases import Language, detection
from pipelines.annotations.reading import Entry, Tally, boxes_of, picture_of


def read_coco(uri: str, language: Language, tally: Tally) -> Iterator[Entry]:
    """An entry for each picture that has objects, in the order of `images`."""
    categories = {item["id"]: str(item["name"]) for item in _items(uri, "categories") if "id" in item and "name" in item}
    pictures = list(_items(uri, "images"))
    objects = _Objects.read(uri, {item.get("id"): row for row, item in enumerate(pictures)}, categories, tally)
    for row, item in enumerate(pictures):
        tally.counts["read"] += 1
        where = f"{uri}, image {item.get('id')}"
        named = picture_of(item | {"image": item.get("file_name")}, tally, where)
        if named is None:
            continue
        found = objects.of(row, named[1:], categories, tally, where)
        if found:
            yield Entry(str(item.get("id")), *named, detection(sorted(found.items()), language))
        else:
            tally.refuse("no_boxes", where)


class _Objects:
    """The annotated objects as columns, sorted by picture: picture int64, category int64, corners float64[N, 4]."""

    def __init__(self, rows: array[int], categories: array[int], corners: array[float]) -> None:
        order = np.argsort(np.asarray(rows), kind="stable")
        self.rows, self.categories = np.asarray(rows)[order], np.asarray(categories)[order]
        self.corners = np.asarray(corners).reshape(-1, 4)[order]

    @classmethod
    def read(cls, uri: str, row_of: dict[Any, int], categories: dict[Any, str], tally: Tally) -> _Objects:
        rows, kinds, corners = array("q"), array("q"), array("d")
        for item in _items(uri, "annotations"):
            where, box = f"{uri}, annotation {item.get('id')}", item.get("bbox")
            if item.get("iscrowd"):
                tally.refuse("crowd", where)
            elif item.get("category_id") not in categories or item.get("image_id") not in row_of:
                tally.refuse("no_category" if item.get("category_id") not in categories else "no_image", where)
            elif not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, (int, float)) for value in box):
                tally.refuse("box_not_numbers", where)
            else:
                rows.append(row_of[item["image_id"]])
                kinds.append(item["category_id"])
                corners.extend((box[0], box[1], box[0] + box[2], box[1] + box[3]))  # COCO: left, top, width, height
        return cls(rows, kinds, corners)

    def of(self, row: int, size: tuple[int, int], categories: dict[Any, str], tally: Tally, where: str) -> dict[str, list[Any]]:
        """The boxes on a picture by the name of their class."""
        first, last = np.searchsorted(self.rows, [row, row + 1])
        found: dict[str, list[Any]] = {}
        for kind, corners in zip(self.categories[first:last].tolist(), self.corners[first:last].tolist(), strict=True):
            if boxes := boxes_of([corners], size, tally, where):
                found.setdefault(categories[kind], []).extend(boxes)
                tally.counts["boxes"] += len(boxes)
        return found


def _items(uri: str, name: str) -> Iterator[dict[str, Any]]:
    """The objects of a list in the file, one by one; RequestError when it is no JSON."""
    import ijson

    with open_file(uri) as handle:
        try:
            yield from (item for item in ijson.items(handle, f"{name}.item", use_float=True) if isinstance(item, dict))
        except ijson.JSONError as error:
            raise RequestError(f"{uri} is no JSON that can be read ({str(error).splitlines()[0]}); fetch it again") from None
