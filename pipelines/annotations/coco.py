"""COCO's and Objects365's JSON → detection: one conversation a picture, one line a class, all of its boxes.

The file is one JSON object, of many gigabytes for Objects365, whose annotations are in no order of pictures. It is read piece by
piece into columns (32 bytes a box), which are sorted by picture.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from infra.compat.errors import RequestError
from infra.compat.files import open_file
from pipelines.annotations.boxes import from_sides
from pipelines.annotations.phrases import Language, detection
from pipelines.annotations.reading import Entry, Tally, boxes_of, id_of, picture_of, skip_mark

CHUNK = 1 << 14  # bytes that ijson takes at once: before them the depth is looked at, and they may add as much
DEEPEST = 1000  # lists and objects within each other


def read_coco(uri: str, language: Language, tally: Tally) -> Iterator[Entry]:
    """An entry for each picture that has objects, in the order of `images`."""
    names = {
        id: str(item["name"]) for item in _items(uri, "categories") if (id := id_of(item, "id")) and _is_name(item.get("name"))
    }
    pictures, row_of = list(_items(uri, "images")), dict[str, int]()
    if not pictures:
        raise RequestError(f"{uri} has no `images`; coco is for COCO's and Objects365's JSON of instances, name such a file")
    for row, item in enumerate(pictures):
        row_of.setdefault(id_of(item, "id"), row)
    row_of.pop("", None)
    objects = _Objects.read(uri, row_of, names, tally)
    for row, item in enumerate(pictures):
        tally.counts["read"] += 1
        where = f"{uri}, image {item.get('id')}"
        named = picture_of(item | {"image": item.get("file_name")}, tally, where)
        if named is None:
            continue
        if row_of.get(id_of(item, "id"), row) != row:
            tally.refuse("same_id", where)
            continue
        found = objects.of(row, named[1:], tally, where)
        if found:
            yield Entry(str(item.get("id")), *named, detection(sorted(found.items()), language))
        else:
            tally.refuse("no_boxes", where)


class _Objects:
    """The annotated objects as columns, sorted by picture: picture int64, number of the class int64, corners float64[N, 4]."""

    def __init__(self, classes: list[str], rows: array[int], categories: array[int], corners: array[float]) -> None:
        self.classes = classes
        order = np.argsort(np.asarray(rows), kind="stable")
        self.rows, self.categories = np.asarray(rows)[order], np.asarray(categories)[order]
        self.corners = np.asarray(corners).reshape(-1, 4)[order]

    @classmethod
    def read(cls, uri: str, row_of: dict[str, int], names: dict[str, str], tally: Tally) -> _Objects:
        rows, kinds, corners = array("q"), array("q"), array("d")
        number_of = {category: number for number, category in enumerate(names)}
        for item in _items(uri, "annotations"):
            where, box = f"{uri}, annotation {item.get('id')}", from_sides(item.get("bbox"))
            row, kind = row_of.get(id_of(item, "image_id")), number_of.get(id_of(item, "category_id"))
            if item.get("iscrowd"):
                tally.refuse("crowd", where)
            elif row is None or kind is None:
                tally.refuse("no_category" if kind is None else "no_image", where)
            elif not box:
                tally.refuse("box_not_numbers", where)
            else:
                rows.append(row)
                kinds.append(kind)
                corners.extend(box)
        return cls([*names.values()], rows, kinds, corners)

    def of(self, row: int, size: tuple[int, int], tally: Tally, where: str) -> dict[str, list[Any]]:
        """The boxes on a picture by the name of their class."""
        first, last = np.searchsorted(self.rows, [row, row + 1])
        found: dict[str, list[Any]] = {}
        for kind, corners in zip(self.categories[first:last].tolist(), self.corners[first:last].tolist(), strict=True):
            if boxes := boxes_of([corners], size, tally, where):
                found.setdefault(self.classes[kind], []).extend(boxes)
                tally.counts["boxes"] += len(boxes)
        return found


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


class _Shallow:
    """A file of JSON that is refused where it nests too deep: ijson keeps a path for each level, the square of the depth."""

    def __init__(self, handle: IO[bytes], uri: str) -> None:
        self.handle, self.uri, self.depth, self.in_string = handle, uri, 0, False

    def read(self, size: int) -> bytes:
        """The next bytes; RequestError before those that go too deep."""
        data = self.handle.read(size)
        while data.endswith(b"\\") and (more := self.handle.read(1)):  # it belongs to the next byte
            data += more
        pieces = data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(pieces[self.in_string :: 2])
        self.in_string ^= len(pieces) % 2 == 0
        self.depth += outside.count(b"[") + outside.count(b"{") - outside.count(b"]") - outside.count(b"}")
        if self.depth > DEEPEST:
            raise RequestError(f"{self.uri} is no JSON of instances: it nests more than {DEEPEST:,} deep; fetch it again")
        return data


def _items(uri: str, name: str) -> Iterator[dict[str, Any]]:
    """The objects of a list in the file, one by one; RequestError when it is no JSON."""
    import ijson

    with open_file(uri) as handle:
        skip_mark(handle)
        shallow = _Shallow(handle, uri)
        try:
            items = ijson.items(shallow, f"{name}.item", use_float=True, buf_size=CHUNK)
            yield from (item for item in items if isinstance(item, dict))
        except ijson.JSONError as error:
            raise RequestError(f"{uri} is no JSON that can be read ({str(error).splitlines()[0]}); fetch it again") from None
