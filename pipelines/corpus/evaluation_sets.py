"""Evaluation sets as hashes: what `dedup --against NAME=URI` compares the corpus with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from filters.duplicates.hashes import PICTURE_HASH
from infra.compat.content import content_digest
from infra.compat.errors import RequestError
from infra.compat.paths import absolute
from pipelines.corpus.evaluation_pictures import picture_chunks, pictures_of, stamps_of
from pipelines.manifest.receipts import digest_of, fingerprint_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items
from sharding.decode import decode_picture

THUMBNAIL = 16


@dataclass(frozen=True)
class EvalSet:
    """A named set: the tables of its hashes under the root, and the name of their content."""

    name: str
    paths: tuple[str, ...]
    digest: str


def thumbnail(image: Image.Image) -> np.ndarray:
    """An RGB picture as float32[16, 16, 3] in 0 … 1: near hashes are confirmed on it."""
    small = image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255.0


def thumbnail_bytes(image: Image.Image) -> bytes:
    """The thumbnail of a picture as it is stored: uint8[16, 16, 3]."""
    return (thumbnail(image) * 255).astype(np.uint8).tobytes()


def hash_sets(storage: Storage, against: Mapping[str, str]) -> list[EvalSet]:
    """Hashes the pictures of each set, name → URI (a folder, a pattern, or indexed shards); hashes are cached under the root."""
    return [_hash_set(storage, name, uri) for name, uri in against.items()]


def require_sets(against: Mapping[str, str]) -> None:
    """RequestError where a set has a name that cannot be, or no images."""
    for name, uri in against.items():
        picture_chunks(name, uri)


def named_sets(requests: Sequence[str]) -> dict[str, str]:
    """`NAME=URI` of --against as name → URI; RequestError for what is not of that form."""
    sets = {}
    for request in requests:
        name, equals, uri = request.partition("=")
        if not (equals and uri):
            raise RequestError(f"--against {request!r} is not NAME=URI; e.g. --against flickr30k=/data/flickr30k/images")
        sets[name] = absolute(uri)
    return sets


def _hash_set(storage: Storage, name: str, uri: str) -> EvalSet:
    chunks = {_target(name, chunk): chunk for chunk in picture_chunks(name, uri)}
    items: list[dict[str, Any]] = [
        {"label": target, "chunk": chunk, "target": target} for target, chunk in chunks.items() if not storage.exists(target)
    ]
    total = sum(item["chunk"]["pictures"] for item in items)
    for label, _, error in run_items(items, _Hasher(storage), name=f"hash {name}", unit="pictures", total=total):
        if error:
            raise RequestError(f"--against {name}: {label}: {error}; repair the file or leave it out")
    return EvalSet(name, tuple(chunks), digest_of("".join(chunks).encode()))


def _target(name: str, chunk: Mapping[str, Any]) -> str:
    """Where the hashes of these pictures lie."""
    content = content_digest(PICTURE_HASH, thumbnail_bytes, decode_picture, packages=["filters", "sharding", __name__])
    return f"evalsets/{name}/{fingerprint_of({'pictures': stamps_of(chunk), 'content': content})}.parquet"


@dataclass(frozen=True)
class _Hasher:
    storage: Storage

    def __call__(self, item: dict[str, Any], reporter: Reporter) -> dict[str, int]:
        names, hashes, thumbnails = [], [np.zeros(0, np.uint64)], []
        for name, data in pictures_of(item["chunk"]):
            try:
                image = decode_picture(data)
            except ValueError as error:
                raise RequestError(f"{name} is {error}") from None
            names.append(name)
            hashes.append(PICTURE_HASH.of_images([image]))
            thumbnails.append(thumbnail_bytes(image))
            reporter(1)
        table = pa.table(
            {
                "item": pa.array(names, pa.string()),
                "hash": np.concatenate(hashes),
                "thumbnail": pa.array(thumbnails, pa.binary()),
            }
        )
        self.storage.write_parquet(item["target"], table)
        return {"pictures": len(table)}


def load(storage: Storage, sets: Sequence[EvalSet]) -> pa.Table:
    """All items of the sets: set, item, hash, thumbnail."""
    tables = []
    for one in sets:
        for path in one.paths:
            table = storage.read_parquet(path)
            tables.append(table.add_column(0, "set", pa.array([one.name] * len(table))))
    empty = pa.schema(
        [("set", pa.string()), ("item", pa.string()), ("hash", pa.uint64()), ("thumbnail", pa.binary())]
    ).empty_table()
    return pa.concat_tables([empty, *tables])


def describe(sets: Sequence[EvalSet]) -> list[dict[str, object]]:
    """The sets as plain JSON values, for fingerprints."""
    return [asdict(one) for one in sets]
