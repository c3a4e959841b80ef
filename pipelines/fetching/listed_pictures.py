"""Pictures of folders and tars, of the source `pictures`: what is there is listed, and read where it lies; nothing is requested.

A listing is a Parquet file under the root: of one tar, or of all other files that a folder or pattern names. A tar that is
written again has another listing once it is ingested again, and its pictures are read again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from infra.compat.errors import RequestError
from infra.compat.files import file_system
from infra.compat.paths import absolute
from pipelines.fetching.img2dataset_images import ENDINGS, Place, image_members
from pipelines.fetching.img2dataset_output import COLUMNS, SUCCESS, fetch_columns
from pipelines.fetching.settings import FetchSettings
from pipelines.manifest.parquet import parquet_bytes
from pipelines.manifest.receipts import digest_of
from pipelines.manifest.registry import identity_of
from pipelines.manifest.storage import Storage
from pipelines.sources.files import stamp_of
from pipelines.sources.parquet_files import parquet_rows
from pipelines.sources.patterns import expand

TAR = ".tar"
AT_ONCE = 16  # files and tars that are looked at together
PLACE = frozenset({"tar", "offset", "length"})
LISTING = pa.schema(
    {
        "url": pa.string(),
        "caption": pa.string(),
        "tar": pa.string(),
        "offset": pa.int64(),
        "length": pa.int64(),
        "stamp": pa.string(),
    }
)
FOUND = {"status": SUCCESS, "error_message": None, "sha256": None, "original_width": None, "original_height": None}

Row = tuple[str, None, str, int, int, str]


def list_pictures(storage: Storage, patterns: Sequence[str]) -> list[str]:
    """The URIs of the listings of what paths, folders and patterns name; those that have changed are written.

    RequestError for a file that is neither a tar nor a picture, for a broken tar and for one without a picture.
    """
    uris = list[str]()
    for pattern in patterns:
        files = picture_files([pattern])
        tars, others = [uri for uri in files if uri.endswith(TAR)], [uri for uri in files if not uri.endswith(TAR)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            rows = dict(zip(tars, pool.map(_in_tar, tars), strict=True))
            if others:
                rows[absolute(pattern)] = [*pool.map(_file, others)]
        uris += [_written(storage, name, listed) for name, listed in rows.items()]
    return list(dict.fromkeys(uris))


def picture_files(patterns: Sequence[str]) -> list[str]:
    """The tars and pictures that are named; RequestError for a file that is neither."""
    files = expand(patterns, of_folder=lambda names: [name for name in names if _is_usable(name)])
    for uri in files:
        if not _is_usable(uri):
            raise RequestError(f"{uri} is neither a .tar nor a picture ({', '.join(ENDINGS)}); leave it out, or unpack it")
    return files


def listing_of(storage: Storage, name: str) -> str:
    """The URI of the listing of a tar, folder or pattern."""
    return f"{storage.root}/{_path(name)}"


def listing_stamp(uri: str) -> str:
    """Changes when a listing is written again; FileNotFoundError when it is gone."""
    fs, path = file_system(uri)
    fs.invalidate_cache()
    info = fs.info(path)
    return f"{info['size']} {stamp_of(info)}"


def read_listed(uri: str, first_row: int, rows: int, settings: FetchSettings, finished: Callable[[int], None]) -> pa.Table:
    """The fetch family's columns but sample_id for these rows of a listing, of pictures as they lie.

    A picture that is gone or cannot be decoded is `failed`.
    """
    places = parquet_rows(uri, first_row, rows, PLACE.intersection).table.to_pylist()
    unchanged, stamp = settings.model_copy(update={"resize": "keep"}), listing_stamp(uri)
    results = []
    for number, place in enumerate(places):
        results.append(_columns(Place(place["tar"], place["offset"], place["length"]), unchanged) | {"tar_stamp": stamp})
        finished(number)
    return pa.table({field.name: pa.array([row.get(field.name) for row in results], field.type) for field in COLUMNS})


def _columns(place: Place, settings: FetchSettings) -> dict[str, Any]:
    try:
        return fetch_columns(FOUND, place, _read, settings)
    except FileNotFoundError:
        return fetch_columns(FOUND, None, _read, settings)


def _read(place: Place) -> bytes:
    fs, path = file_system(place.uri)
    data: bytes = fs.cat_file(path, start=place.offset, end=place.offset + place.length)
    return data


def _in_tar(uri: str) -> list[Row]:
    fs, path = file_system(uri)
    info = fs.info(path)
    stamp = f"{info['size']} {stamp_of(info)}"
    with fs.open(path, "rb") as handle:
        members = [*image_members(uri, handle)]
    rows: list[Row] = [(_text(f"{uri}/{name}"), None, uri, offset, length, stamp) for name, offset, length in members]
    if not rows:
        raise RequestError(f"{uri} holds no picture ({', '.join(ENDINGS)}); leave it out")
    return rows


def _file(uri: str) -> Row:
    fs, path = file_system(uri)
    info = fs.info(path)
    return _text(uri), None, uri, 0, info["size"], stamp_of(info)


def _text(name: str) -> str:
    """A name in a tar as UTF-8: it may hold any bytes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _written(storage: Storage, name: str, rows: Sequence[Row]) -> str:
    """The listing's URI, after it is written, unless it is there already."""
    columns = zip(*rows, strict=True)
    table = pa.table([pa.array(column, field.type) for column, field in zip(columns, LISTING, strict=True)], schema=LISTING)
    path, data = _path(name), parquet_bytes(table)
    if not storage.exists(path) or storage.read(path) != data.to_pybytes():
        storage.write(path, data)
    return listing_of(storage, name)


def _path(name: str) -> str:
    return f"listings/{digest_of(identity_of(name).encode())}.parquet"


def _is_usable(name: str) -> bool:
    return name.lower().endswith((TAR, *ENDINGS))
