"""Evaluation sets as hashes: what `dedup --against NAME=URI` compares the corpus with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
from PIL import Image

from filters.duplicates.hashes import PICTURE_HASH
from infra.compat.content import content_digest
from infra.compat.errors import RequestError
from infra.compat.files import file_system, open_file
from infra.compat.paths import absolute
from pipelines.manifest.receipts import digest_of, fingerprint_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items
from pipelines.sources.patterns import matching
from sharding.decode import decode_picture

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
CHUNK = 500
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
    """Hashes the pictures of each set, name → URI (a folder, or a pattern of picture files); hashes are cached under the root."""
    return [_hash_set(storage, name, uri) for name, uri in against.items()]


def require_sets(against: Mapping[str, str]) -> None:
    """RequestError where a set has a name that cannot be, or no images."""
    for name, uri in against.items():
        _image_files(name, uri)


def named_sets(requests: Sequence[str]) -> dict[str, str]:
    """`NAME=URI` of --against as name → URI; RequestError for what is not of that form."""
    sets = {}
    for request in requests:
        name, equals, uri = request.partition("=")
        if not (equals and uri):
            raise RequestError(f"--against {request!r} is not NAME=URI; e.g. --against flickr30k=/data/flickr30k/images")
        sets[name] = absolute(uri)
    return sets


def _image_files(name: str, uri: str) -> tuple[fsspec.AbstractFileSystem, list[str]]:
    """The file system of a set, and its image files in order; RequestError when there are none."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise RequestError(f"evaluation set {name!r}: a name has letters, digits, - and _ only; rename the set")
    fs, path = file_system(uri)
    files = sorted(fs.unstrip_protocol(file) for file in matching(fs, path) if file.lower().endswith(ENDINGS))
    if not files:
        raise RequestError(
            f"evaluation set {name}: no images ({', '.join(ENDINGS)}) under {uri}; name a folder that holds the set"
        )
    return fs, files


def _hash_set(storage: Storage, name: str, uri: str) -> EvalSet:
    fs, files = _image_files(name, uri)
    chunks = {
        _target(fs, name, chunk): chunk for start in range(0, len(files), CHUNK) for chunk in [files[start : start + CHUNK]]
    }
    items: list[dict[str, Any]] = [
        {"label": target, "files": chunk, "target": target} for target, chunk in chunks.items() if not storage.exists(target)
    ]
    total = sum(len(item["files"]) for item in items)
    for label, _, error in run_items(items, _Hasher(storage), name=f"hash {name}", unit="pictures", total=total):
        if error:
            raise RequestError(f"--against {name}: {label}: {error}; repair the file or leave it out")
    return EvalSet(name, tuple(chunks), digest_of("".join(chunks).encode()))


def _target(fs: fsspec.AbstractFileSystem, name: str, files: list[str]) -> str:
    """Where the hashes of these files lie. Size and date stand for the content: reading all of ImageNet would cost as much as
    hashing it.
    """
    infos = [(file, fs.info(file)) for file in files]
    stamps = [[file, str(info.get("ETag") or (info.get("size"), info.get("mtime")))] for file, info in infos]
    content = content_digest(PICTURE_HASH, thumbnail_bytes, decode_picture, packages=["filters", "sharding", __name__])
    return f"evalsets/{name}/{fingerprint_of({'files': stamps, 'content': content})}.parquet"


@dataclass(frozen=True)
class _Hasher:
    storage: Storage

    def __call__(self, item: dict[str, Any], reporter: Reporter) -> dict[str, int]:
        hashes, thumbnails = [], []
        for file in item["files"]:
            with open_file(file) as handle:
                image = decode_picture(handle.read())
            hashes.append(PICTURE_HASH.of_images([image]))
            thumbnails.append(thumbnail_bytes(image))
            reporter(1)
        table = pa.table(
            {
                "item": [file.rpartition("/")[2] for file in item["files"]],
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
