"""Files by URI, as fsspec opens them, but for `::`, which is part of a name wherever it can be."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

LAYERS = re.compile("(?:zip|tar|libarchive|simplecache|filecache|blockcache|cached|dir|reference)(?:://.*)?", re.DOTALL)


def file_system(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URI or local path, and the path on it.

    `zip://a.csv::s3://bucket/b.zip` is a chain of file systems. fsspec takes every `::` for that of a chain; but `a::b.parquet`
    is the name of a file.
    """
    if "::" not in uri or _is_chain(uri):
        fs, path = fsspec.core.url_to_fs(uri)
        return fs, path
    protocol = fsspec.core.split_protocol(uri)[0] or "file"
    kind = fsspec.get_filesystem_class(protocol)
    return fsspec.filesystem(protocol, **kind._get_kwargs_from_urls(uri)), kind._strip_protocol(uri)


@contextmanager
def open_file(uri: str, mode: str = "rb", **options: Any) -> Iterator[Any]:
    """The file at a URI or local path, opened. Its file system lives as long: an archive's closes the archive when it goes."""
    fs, path = file_system(uri)
    with fs.open(path, mode, **options) as handle:
        yield handle


def write_whole(fs: fsspec.AbstractFileSystem, path: str, data: bytes) -> None:
    """Puts `data` at a path of a file system, or nothing: by one rename on a local disk, by one PUT elsewhere."""
    if not isinstance(fs, LocalFileSystem):
        fs.pipe_file(path, data)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _is_chain(uri: str) -> bool:
    """Whether before each `::` is a file system that stands on another, and behind the last a URI or a path from the root."""
    *layers, last = uri.split("::")
    return all(map(LAYERS.fullmatch, layers)) and ("://" in last or last.startswith("/"))
