"""Evaluation sets as files of hashes: what `index-evalset` writes, and `dedup --against NAME=URI` compares the corpus with."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from filters.duplicates.descriptors import PATH, descriptors
from filters.duplicates.hashes import PICTURE_HASH
from infra.compat.content import content_digest
from infra.compat.errors import RequestError
from infra.compat.paths import absolute
from pipelines.corpus import hash_lists
from pipelines.corpus.evaluation_file import DESCRIPTORS, EMBEDDINGS, ENDING, ITEMS, SQUARES, write_evalset
from pipelines.corpus.evaluation_pictures import chunks_of, pictures_of, require_name, stamps_of
from pipelines.corpus.evaluation_search import EvalSet, local_file, open_set
from pipelines.corpus.variants import VARIANTS, with_variants
from pipelines.images import small
from pipelines.images.pdq import pdq_of_pixels
from pipelines.manifest.receipts import fingerprint_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items
from sharding.decode import decode_picture

FOLDER = "evalsets"
AUTO = "auto"
EMBED_BATCH = 64  # pictures at once
MOST_WITH_VARIANTS = 3_000_000  # pictures: with all variants an item takes some 260 bytes
Variants = tuple[str, ...]


def named_sets(requests: Sequence[str]) -> dict[str, str]:
    """`NAME=URI` of --against as name → URI; RequestError for what is not of that form."""
    sets = {}
    for request in requests:
        name, equals, uri = request.partition("=")
        if not (equals and uri):
            raise RequestError(f"--against {request!r} is not NAME=URI; e.g. --against flickr30k=/data/flickr30k/images")
        sets[name] = absolute(uri)
    return sets


def require_sets(against: Mapping[str, str]) -> None:
    """RequestError where a set has a name that cannot be, or no items."""
    for name, uri in against.items():
        require_name(name)
        if uri.endswith(ENDING):
            open_set(name, uri)
        else:
            chunks_of(name, uri)


def sets_of(storage: Storage, against: Mapping[str, str], with_squares: bool = False) -> list[EvalSet]:
    """The sets, name → URI: a file of `index-evalset`, or what that reads, which is then indexed under the root, once."""
    return [
        open_set(name, uri) if uri.endswith(ENDING) else _indexed(storage, name, uri, with_squares)
        for name, uri in against.items()
    ]


@dataclass(frozen=True)
class Embedder:
    """What embeds pictures: `load` gives, once per worker, a function of RGB pictures[N] -> float32[N, D], L2-normalised.

    `about` is the model's provenance, as in the family `embeddings` of the corpus that it is compared with.
    """

    load: Callable[[], Callable[[Sequence[Image.Image]], np.ndarray]]
    about: Mapping[str, Any]


def index_set(
    storage: Storage, name: str, uri: str, variants: str = AUTO, embedder: Embedder | None = None, with_squares: bool = False
) -> EvalSet:
    """Writes the file of a set, `evalsets/<name>.evalset` under the root; hashes of pictures are cached beside it.

    `variants` of its pictures (`variants.py`) are indexed too: `all`, `none`, or `auto` for all where the file stays below 1 GB.
    `with_squares` each picture's small square and descriptor are kept as well. RequestError where no item can be read.
    """
    chosen, parts = _hashed_parts(storage, name, uri, variants, embedder, with_squares)
    return _write(storage, name, uri, chosen, parts, f"{FOLDER}/{name}{ENDING}", embedder)


def _indexed(storage: Storage, name: str, uri: str, with_squares: bool) -> EvalSet:
    """A set that has no file, by one among its cached hashes."""
    variants, parts = _hashed_parts(storage, name, uri, AUTO, None, with_squares)
    path = f"{FOLDER}/parts/{name}/{fingerprint_of({'parts': parts})}{ENDING}"
    return _with_faults(storage, name, path) if storage.exists(path) else _write(storage, name, uri, variants, parts, path)


def _write(
    storage: Storage,
    name: str,
    uri: str,
    variants: Variants,
    parts: Sequence[str],
    path: str,
    embedder: Embedder | None = None,
) -> EvalSet:
    about = embedder.about if embedder else None
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / f"{name}{ENDING}"
        write_evalset(local, map(storage.read_parquet, parts), {"name": name, "uri": uri}, variants, about)
        storage.adopt(local, path)
    return _with_faults(storage, name, path)


def _with_faults(storage: Storage, name: str, path: str) -> EvalSet:
    """The set in a file under the root, and the items that it lacks."""
    target = f"{storage.root}/{path}"
    file = local_file(target)
    faults = dict(file.faults)
    if file.left_out > len(faults):
        faults["others"] = f"{file.left_out - len(faults):,} more cannot be read"
    return EvalSet(name, target, file.digest, faults)


def describe(sets: Sequence[EvalSet]) -> list[dict[str, object]]:
    """What decides of the sets as plain JSON values, for fingerprints: wherever their files lie."""
    return [{"name": each.name, "digest": each.digest} for each in sets]


def _hashed_parts(
    storage: Storage, name: str, uri: str, variants: str, embedder: Embedder | None, with_squares: bool
) -> tuple[Variants, list[str]]:
    """The variants that are indexed, and the tables of a set's items, hashed where they are not cached."""
    found = chunks_of(name, uri)
    is_small = sum(map(_pictures, found)) <= MOST_WITH_VARIANTS
    has_pictures = all(chunk["kind"] != "list" for chunk in found)
    chosen: Variants = tuple(VARIANTS) if has_pictures and (variants == "all" or (variants == AUTO and is_small)) else ()
    if embedder and not has_pictures:
        raise RequestError(f"evaluation set {name}: {uri} is a list of hashes, which cannot be embedded; name its pictures")
    about, with_squares = embedder.about if embedder else None, with_squares and has_pictures
    chunks = {_target(name, chunk, chosen, about, with_squares): chunk for chunk in found}
    items: list[dict[str, Any]] = [
        {"label": target, "chunk": chunk, "target": target} for target, chunk in chunks.items() if not storage.exists(target)
    ]
    total = sum(item["chunk"]["pictures"] for item in items)
    for label, _, error in run_items(
        items, Hasher(storage, chosen, embedder, with_squares), name=f"hash {name}", unit="pictures", total=total
    ):
        if error:
            raise RequestError(f"evaluation set {name}: {label}: {error}; repair the file or leave it out")
    return chosen, list(chunks)


def _pictures(chunk: Mapping[str, Any]) -> int:
    """How many pictures a chunk has; of a tar, which is not read for it, how many it would have of 20 kB each."""
    return int(stamps_of(chunk)[0][1]) // 20_000 if chunk["kind"] == "tar" else int(chunk["pictures"])


def _content() -> str:
    """What decides of the hashes of pictures."""
    return content_digest(
        PICTURE_HASH,
        picture_hashes,
        with_variants,
        packages=["filters", "sharding", "pipelines.images", "pipelines.corpus.variants", __name__],
    )


def _target(
    name: str,
    chunk: Mapping[str, Any],
    variants: Variants,
    embedder: Mapping[str, Any] | None = None,
    with_squares: bool = False,
) -> str:
    """Where the hashes of these pictures lie."""
    decides = {"items": stamps_of(chunk), "content": _content(), "variants": variants, "embedder": embedder}
    decides |= {"squares": content_digest(PATH, descriptors, packages=["filters"])} if with_squares else {}
    return f"{FOLDER}/parts/{name}/{fingerprint_of(decides)}.parquet"


@dataclass(frozen=True)
class Hasher:
    """Hashes the items of a chunk into a table of `ITEMS`, with a column `fault`: why an item has no hash.

    An item has a row, then one for each of `variants`. With an `embedder` the table has a column `embeddings` too, and
    `with_squares` columns `descriptors` and `squares`.
    """

    storage: Storage
    variants: Variants = ()
    embedder: Embedder | None = None
    with_squares: bool = False

    def __call__(self, item: dict[str, Any], reporter: Reporter) -> dict[str, int]:
        """Writes the table at the item's `target`."""
        chunk = item["chunk"]
        if chunk["kind"] == "list":
            table = listed_items(chunk["files"][0])
        else:
            table = _hashed_pictures(chunk, self.variants, self.embedder, self.with_squares, reporter)
        self.storage.write_parquet(item["target"], table)
        return {"items": len(table)}


def picture_hashes(image: Image.Image) -> tuple[int, bytes, int]:
    """phash, PDQ and its quality of an RGB picture."""
    return int(PICTURE_HASH.of_images([image])[0]), *pdq_of_pixels(np.asarray(image))


def listed_items(file: str) -> pa.Table:
    """The items of a published list of hashes."""
    table = hash_lists.read_hashes(file)
    has_all = np.logical_and.reduce([table[name].is_valid().to_numpy() for name in table.column_names[1:]])
    return table.append_column("fault", pc.if_else(pa.array(has_all), None, "its row has no hash that can be read"))


def _hashed_pictures(
    chunk: Mapping[str, Any], variants: Variants, embedder: Embedder | None, keep_squares: bool, reporter: Reporter
) -> pa.Table:
    rows, embedded, squares = list[tuple[Any, ...]](), _Embedded(embedder), dict[int, np.ndarray]()
    for picture in pictures_of(chunk):
        fault = picture.fault
        if not fault:
            try:
                images = with_variants(decode_picture(picture.data), variants)
                embedded.add(len(rows), images[0])
                squares |= {len(rows): small.small_square(np.asarray(images[0]))} if keep_squares else {}
                rows += [(picture.name, *picture_hashes(image), None) for image in images]
            except ValueError as error:
                fault = f"is {error}"
        if fault:
            rows += [(picture.name, 0, bytes(32), 0, fault)] * (1 + len(variants))
        reporter(1)
    schema = ITEMS.append(pa.field("fault", pa.string()))
    table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
    table = table.append_column(EMBEDDINGS, embedded.column(len(rows))) if embedder else table
    return with_squares(table, squares) if keep_squares else table


def with_squares(table: pa.Table, squares: Mapping[int, np.ndarray]) -> pa.Table:
    """The table with the columns `descriptors` and `squares` of some of its rows."""
    columns: dict[str, list[bytes | None]] = {DESCRIPTORS: [None] * len(table), SQUARES: [None] * len(table)}
    for row, square in squares.items():
        columns[DESCRIPTORS][row] = descriptors(square[None])[0].astype("<f2").tobytes()
        columns[SQUARES][row] = small.packed(square).tobytes()
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.binary()))
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
