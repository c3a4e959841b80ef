"""Images that img2dataset downloaded: NNNNN.parquet tells how each download ended; beside it is a tar or a folder of them.

They stay where they are. Each is read once, decoded to detect truncation, and hashed; the family `fetch` then points to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from infra.compat.errors import RequestError
from pipelines.fetching.errors import http_error, status_of
from pipelines.fetching.img2dataset_images import Place, images_stamp, open_images
from pipelines.fetching.settings import FetchSettings
from pipelines.images.identify import RejectedImage, identify
from pipelines.images.prepare import prepare
from pipelines.manifest.pictures import checksum_of
from pipelines.manifest.tables import FAMILIES
from pipelines.sources.parquet_files import parquet_rows
from pipelines.sources.published import can_read, read_values

COLUMNS = [field for field in FAMILIES["fetch"] if field.name != "sample_id"]
SIZES = ("original_width", "original_height")
COLUMNS_READ = frozenset({"key", "status", "error_message", "sha256", *SIZES})
SUCCESS = "success"
MANY = 10  # images that are not all missing by accident
# Words of an error message → our class.
ERROR_WORDS = {
    "timed out": "timeout",
    "name or service": "dns",
    "getaddrinfo": "dns",
    "ssl": "tls",
    "disallowed": "opt_out",  # an X-Robots-Tag
}


def read_output(uri: str, first_row: int, rows: int, settings: FetchSettings, finished: Callable[[int], None]) -> pa.Table:
    """The fetch family's columns but sample_id for these rows of one of img2dataset's Parquet files; nothing is requested.

    An image that is missing or cannot be decoded is `failed`. FileNotFoundError where no images lie beside the file.
    """
    downloads = _downloads(parquet_rows(uri, first_row, rows, COLUMNS_READ.intersection).table)
    unchanged = settings.model_copy(update={"resize": "keep"})
    stamp = images_stamp(uri)
    with open_images(uri) as (places, read):
        places = places if any(row["key"] in places for row in downloads) else _by_number(places)
        stored = [row["key"] for row in downloads if row["status"] == SUCCESS]
        if len(stored) >= MANY and not any(key in places for key in stored):
            raise RequestError(f"{uri}: no image beside it is named after one of its keys, such as {stored[0]}; copy them again")
        results = []
        for number, download in enumerate(downloads):
            row = fetch_columns(download, places.get(download["key"]), read, unchanged)
            results.append(row | {"tar_stamp": stamp})
            finished(number)
    return pa.table({field.name: pa.array([row.get(field.name) for row in results], field.type) for field in COLUMNS})


def _downloads(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of img2dataset's file, the columns in the types that it writes: other programs leave floats, NaN and bytes there.

    A value that cannot be read is NULL. Keys that became numbers lost their zeros: see `_by_number`.
    """
    columns = {}
    for name in sorted(COLUMNS_READ):
        kind = pa.int32() if name in SIZES else pa.string()
        column = table[name] if name in table.column_names else pa.chunked_array([pa.nulls(len(table))])
        if name == "key" and pa.types.is_floating(column.type):
            column = column.cast(pa.int64(), safe=False)
        if name == "key" and pa.types.is_integer(column.type):
            column = column.cast(pa.string())
        columns[name] = read_values(column, kind)[0] if can_read(column.type, kind) else pa.nulls(len(table), kind)
    rows: list[dict[str, Any]] = pa.table(columns).to_pylist()
    return rows


def _by_number(places: Mapping[str, Place]) -> dict[str, Place]:
    """The places by keys without the zeros before them."""
    return {key.lstrip("0") or "0": place for key, place in places.items()}


def fetch_columns(
    download: Mapping[str, Any], place: Place | None, read: Callable[[Place], bytes], settings: FetchSettings
) -> dict[str, Any]:
    """The columns of a picture that lies at a place, if any, by name; `download` is its row of img2dataset's file."""
    if download["status"] != SUCCESS:
        error = error_of(download["status"], download["error_message"] or "")
        return {"status": status_of(error), "error": error, "http_status": _http_status(error)}
    if place is None:
        return {"status": "failed", "error": "truncated"}
    body = read(place)
    try:
        image = prepare(identify(body, settings), settings)
    except RejectedImage as rejected:
        return {"status": "failed", "error": rejected.error, "bytes": place.length}
    return {
        "status": "ok",
        "http_status": 200,
        "bytes": place.length,
        "mime": image.mime,
        "sha256": download["sha256"] or image.sha256,
        "phash": image.phash,
        "pdq": image.pdq,
        "pdq_quality": image.pdq_quality,
        "width": download["original_width"] or image.width,
        "height": download["original_height"] or image.height,
        "tar": place.uri,
        "offset": place.offset,
        "length": place.length,
        "stored_checksum": checksum_of(body),
    }


def error_of(status: str | None, message: str) -> str:
    """Our class for a failed download's status and error message."""
    message = message.lower()
    if status == "failed_to_resize":
        return "too_many_pixels" if "too large" in message else "not_an_image"
    code = re.search(r"http error (\d{3})", message)
    if code is not None:
        return http_error(int(code[1]))
    return next((error for words, error in ERROR_WORDS.items() if words in message), "connect")


def _http_status(error: str) -> int | None:
    return int(error.removeprefix("http_")) if error.removeprefix("http_").isdigit() else None
