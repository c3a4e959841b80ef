"""Pictures of an evaluation set → tables of their hashes, and of what else is kept of them, for its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from filters.duplicates.descriptors import descriptors
from filters.duplicates.hashes import PICTURE_HASH
from pipelines.corpus import hash_lists
from pipelines.corpus.evaluation_file import DESCRIPTORS, EMBEDDINGS, ITEMS, LOOKS, SQUARES
from pipelines.corpus.evaluation_pictures import KILOBYTE, pictures_of, units_of
from pipelines.corpus.variants import with_variants
from pipelines.images import small
from pipelines.images.pdq import pdq_of_pixels
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from sharding.decode import decode_picture

EMBED_BATCH = 64  # pictures at once


@dataclass(frozen=True)
class Embedder:
    """What embeds pictures: `load` gives, once per worker, a function of RGB pictures[N] -> float32[N, D], L2-normalised.

    `about` is the model's provenance, as in the family `embeddings` of the corpus that it is compared with.
    """

    load: Callable[[], Callable[[Sequence[Image.Image]], np.ndarray]]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """What is kept of each picture besides its own hashes: those of `variants`, its look, its square and descriptor, and its
    embedding by an `embedder`.
    """

    variants: tuple[str, ...] = ()
    looks: bool = False
    squares: bool = False
    embedder: Embedder | None = None

    @property
    def about(self) -> Mapping[str, Any] | None:
        """The embedder's provenance."""
        return self.embedder.about if self.embedder else None


@dataclass(frozen=True)
class Hasher:
    """Hashes the items of a chunk into a table of `ITEMS`, with a column `fault`: why an item has no hash.

    An item has a row, then one for each of its variants; what else is kept is in columns of `OF_ITEMS`.
    """

    storage: Storage
    kept: Kept = field(default_factory=Kept)

    def __call__(self, item: dict[str, Any], reporter: Reporter) -> dict[str, int]:
        """Writes the table at the item's `target`."""
        chunk = item["chunk"]
        table, done = (
            (listed_items(chunk["files"][0]), 0) if chunk["kind"] == "list" else _hashed_pictures(chunk, self.kept, reporter)
        )
        self.storage.write_parquet(item["target"], table)
        reporter(units_of(chunk) - done)
        return {"items": len(table)}


def picture_hashes(image: Image.Image) -> tuple[int, bytes, int]:
    """phash, PDQ and its quality of an RGB picture."""
    return int(PICTURE_HASH.of_images([image])[0]), *pdq_of_pixels(np.asarray(image))


def listed_items(file: str) -> pa.Table:
    """The items of a published list of hashes."""
    table = hash_lists.read_hashes(file)
    has_all = np.logical_and.reduce([table[name].is_valid().to_numpy() for name in table.column_names[1:]])
    return table.append_column("fault", pc.if_else(pa.array(has_all), None, "its row has no hash that can be read"))


def _hashed_pictures(chunk: Mapping[str, Any], kept: Kept, reporter: Reporter) -> tuple[pa.Table, int]:
    """The table of a chunk, and the units of it that were reported."""
    rows, embedded, pixels, done = list[tuple[Any, ...]](), _Embedded(kept.embedder), SmallPictures(kept), 0
    for picture in pictures_of(chunk):
        fault = picture.fault
        if not fault:
            try:
                images = with_variants(decode_picture(picture.data), kept.variants)
                embedded.add(len(rows), images[0])
                pixels.add(len(rows), images[0])
                rows += [(picture.name, *picture_hashes(image), None) for image in images]
            except ValueError as error:
                fault = f"is {error}"
        if fault:
            rows += [(picture.name, 0, bytes(32), 0, fault)] * (1 + len(kept.variants))
        units = len(picture.data) // KILOBYTE if chunk["kind"] == "tar" else 1
        reporter(units)
        done += units
    schema = ITEMS.append(pa.field("fault", pa.string()))
    table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
    table = table.append_column(EMBEDDINGS, embedded.column(len(rows))) if kept.embedder else table
    return pixels.appended(table), done


class SmallPictures:
    """What is kept of pictures themselves, some rows of a table: looks, squares and descriptors."""

    def __init__(self, kept: Kept) -> None:
        self.kept, self.rows = kept, list[int]()
        names = [*([LOOKS] if kept.looks else []), *([DESCRIPTORS, SQUARES] if kept.squares else [])]
        self.values = {name: list[bytes]() for name in names}

    def add(self, row: int, image: Image.Image) -> None:
        """What is kept of the picture of a row."""
        self.rows.append(row)
        if self.values:
            square = small.small_square(np.asarray(image))
            made = {LOOKS: lambda: small.look(square), SQUARES: lambda: small.packed(square)}
            made |= {DESCRIPTORS: lambda: descriptors(square[None])[0].astype("<f2")}
            for name, values in self.values.items():
                values.append(made[name]().tobytes())

    def appended(self, table: pa.Table) -> pa.Table:
        """The table with these columns, binary; NULL in other rows."""
        for name, values in self.values.items():
            column = np.full(len(table), None, object)
            column[self.rows] = values
            table = table.append_column(name, pa.array(column, pa.binary()))
        return table


class _Embedded:
    """The embeddings of some rows, made a batch of pictures at a time; nothing without an embedder."""

    def __init__(self, embedder: Embedder | None) -> None:
        self.embed = embedder.load() if embedder else None
        self.rows, self.waiting, self.packed = list[int](), list[Image.Image](), list[bytes]()

    def add(self, row: int, image: Image.Image) -> None:
        if self.embed:
            self.rows.append(row)
            self.waiting.append(image)
            if len(self.waiting) == EMBED_BATCH:
                self._flush()

    def column(self, count: int) -> pa.Array:
        """The column of `count` rows, binary; NULL where none was added."""
        self._flush()
        values: list[bytes | None] = [None] * count
        for row, packed in zip(self.rows, self.packed, strict=True):
            values[row] = packed
        return pa.array(values, pa.binary())

    def _flush(self) -> None:
        if self.embed and self.waiting:
            self.packed += [vector.tobytes() for vector in self.embed(self.waiting).astype("<f2")]
            self.waiting.clear()
