"""Which tars a URI names, and the folder below which they are shards."""

from __future__ import annotations

from dataclasses import dataclass

from infra.compat.errors import RequestError
from infra.compat.files import file_system
from infra.compat.paths import absolute
from pipelines.sources.patterns import BRACES, MAGIC, expand, kind_of
from sharding.layout import tar_file

COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz", ".tar.lz4")


@dataclass(frozen=True)
class Tars:
    """A folder, and the names of tars below it without their ending: `00000`, `part-0/00000`."""

    folder: str
    shards: tuple[str, ...]


def named_tars(uri: str) -> Tars:
    """The tars of a folder with all that is below it, of a pattern, or one; RequestError where there are none to be indexed.

    The folder of a pattern is the one above its first `*`, `?`, `[…]` or `{…}`.
    """
    uri = _as_its_store_says(absolute(uri.strip()).rstrip("/"))
    files = [absolute(file) for file in expand([uri], _tars)]
    compressed = next((file for file in files if file.lower().endswith(COMPRESSED)), None)
    if compressed:
        raise RequestError(f"{compressed} is compressed, so nothing in it can be read by its place; unpack it to a .tar")
    other = next((file for file in files if not file.endswith(tar_file(""))), None)
    if other:
        raise RequestError(f"{other} is no tar by its name; name files that end in {tar_file('')}")
    folder = _folder_of(uri)
    outside = next((file for file in files if not file.startswith(f"{folder}/")), None)
    if outside:
        raise RequestError(f"{uri} names {outside}, which is not below {folder}; write the URI as the file's is")
    return Tars(folder, tuple(file.removeprefix(f"{folder}/").removesuffix(tar_file("")) for file in files))


def _as_its_store_says(uri: str) -> str:
    """The URI with the first of the schemes that its file system has: `s3://` for `s3a://`."""
    if "://" not in uri or "::" in uri:
        return uri
    fs, path = file_system(uri)
    return absolute(fs.unstrip_protocol(path))


def _tars(files: list[str]) -> list[str]:
    """The tars of a folder, those too that cannot be indexed: leaving them out would be a silent loss."""
    return [file for file in files if file.lower().endswith((tar_file(""), *COMPRESSED))]


def _folder_of(uri: str) -> str:
    fs, path = file_system(uri)
    kind = kind_of(fs, path)
    if kind:
        return uri if kind == "directory" else uri.rpartition("/")[0]
    first = min((match.start() for pattern in (MAGIC, BRACES) if (match := pattern.search(uri))), default=len(uri))
    return uri[:first].rpartition("/")[0]
