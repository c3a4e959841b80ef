"""Pictures that img2dataset fetched: NNNNN.parquet says how each download ended, NNNNN.tar beside it holds the pictures.

They stay where they are. Each is read once, decoded for truncation, and hashed; the fetch family then points into that tar.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable
from typing import Any

import fsspec
import pyarrow as pa

from pipelines.fetching.client import ERRORS, status_of
from pipelines.fetching.settings import FetchSettings
from pipelines.images.identify import Unfit, identify
from pipelines.images.prepare import prepare
from pipelines.manifest.tables import FAMILIES
from pipelines.sources.files import parquet_rows

COLUMNS = [field for field in FAMILIES["fetch"] if field.name != "sample_id"]
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
MESSAGES = {
    "timed out": "timeout",
    "name or service": "dns",
    "getaddrinfo": "dns",
    "ssl": "tls",
    "disallowed": "opt_out",  # an X-Robots-Tag
}
SAID = ("key", "status", "error_message", "sha256", "original_width", "original_height")


def adopt(uri: str, first_row: int, rows: int, settings: FetchSettings, finished: Callable[[int], None]) -> pa.Table:
    """The fetch family's columns but sample_id, for these rows of a file of img2dataset's; nothing is asked of any host.

    A picture that is missing from the tar or cannot be decoded is failed, with its class. FileNotFoundError when there is no tar.
    """
    table = parquet_rows(uri, first_row, rows).table
    said = table.select([name for name in SAID if name in table.column_names]).to_pylist()
    tar = uri.removesuffix(".parquet") + ".tar"
    keep = settings.model_copy(update={"resize": "keep"})
    with fsspec.open(tar, "rb") as handle:
        places = _places(handle)
        found = []
        for number, row in enumerate(said):
            found.append(_judge(row, places.get(str(row["key"])), tar, handle, keep))
            finished(number)
    return pa.table({field.name: pa.array([row.get(field.name) for row in found], field.type) for field in COLUMNS})


def _places(handle: Any) -> dict[str, tuple[int, int]]:
    """Key → (offset, length) of each picture in a tar."""
    found = {}
    with tarfile.open(fileobj=handle, mode="r:") as tar:
        for member in tar:
            key, dot, ending = member.name.rpartition("/")[2].partition(".")
            if member.isfile() and dot + ending.lower() in PICTURES:
                found[key] = (member.offset_data, member.size)
    return found


def _judge(row: dict[str, Any], place: tuple[int, int] | None, tar: str, handle: Any, settings: FetchSettings) -> dict[str, Any]:
    if row["status"] != "success":
        error = error_of(row["status"], row.get("error_message") or "")
        return {"status": status_of(error), "error": error, "http_status": _http_status(error)}
    if place is None:
        return {"status": "failed", "error": "truncated"}
    offset, length = place
    handle.seek(offset)
    body = handle.read(length)
    try:
        stored = prepare(identify(body, settings), settings)
    except Unfit as unfit:
        return {"status": "failed", "error": unfit.error, "bytes": length}
    return {
        "status": "ok",
        "http_status": 200,
        "bytes": length,
        "mime": stored.mime,
        "sha256": row.get("sha256") or stored.sha256,
        "phash": stored.phash,
        "width": row.get("original_width") or stored.width,
        "height": row.get("original_height") or stored.height,
        "tar": tar,
        "offset": offset,
        "length": length,
    }


def error_of(status: str, message: str) -> str:
    """What img2dataset says of a failure as one of our classes."""
    said = message.lower()
    if status == "failed_to_resize":
        return "too_many_pixels" if "too large" in said else "not_an_image"
    code = re.search(r"http error (\d{3})", said)
    if code is not None:
        name = f"http_{code[1]}"
        return name if name in ERRORS else {"4": "http_4xx", "5": "http_5xx"}.get(code[1][0], "http_other")
    return next((error for words, error in MESSAGES.items() if words in said), "connect")


def _http_status(error: str) -> int | None:
    return int(error.removeprefix("http_")) if error.removeprefix("http_").isdigit() else None
