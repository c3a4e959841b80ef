"""Where img2dataset put the images of NNNNN.parquet: in NNNNN.tar, or as files in a folder NNNNN (its format `files`)."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

from infra.compat.content import content_digest
from infra.compat.errors import RequestError
from infra.compat.files import file_system
from pipelines.sources.files import stamp_of

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".bmp", ".tif", ".tiff")


class Place(NamedTuple):
    """Where an image lies: in a tar, or as a file, of which `offset` is 0."""

    uri: str
    offset: int
    length: int


@contextmanager
def open_images(uri: str) -> Iterator[tuple[Mapping[str, Place], Callable[[Place], bytes]]]:
    """The images of a Parquet file: (key → place, a function that reads a place); FileNotFoundError where there are none."""
    tar = _without_ending(uri) + ".tar"
    fs, path = file_system(tar)
    if fs.exists(path):
        with fs.open(path, "rb") as handle:

            def read_member(place: Place) -> bytes:
                handle.seek(place.offset)
                data: bytes = handle.read(place.length)
                return data

            yield {key: Place(tar, *rest) for key, rest in _members(tar, handle).items()}, read_member
    else:
        places = {}
        for file in _files(uri):
            key, is_image = _key(file["name"])
            if is_image:
                places[key] = Place(fs.unstrip_protocol(file["name"]), 0, file["size"])

        def read_file(place: Place) -> bytes:
            data: bytes = fs.cat_file(file_system(place.uri)[1])
            return data

        yield places, read_file


def images_stamp(uri: str) -> str:
    """Changes when the images of a Parquet file are written again; FileNotFoundError when it has none."""
    fs, path = file_system(_without_ending(uri) + ".tar")
    if fs.exists(path):
        info = fs.info(path)
        return f"{info['size']} {stamp_of(info)}"
    return content_digest([[file["name"].rpartition("/")[2], file["size"], stamp_of(file)] for file in _files(uri)])


def _without_ending(uri: str) -> str:
    return uri.removesuffix(".parquet")


def _files(uri: str) -> list[dict[str, Any]]:
    """The files in the folder beside a Parquet file, by name."""
    fs, folder = file_system(_without_ending(uri))
    fs.invalidate_cache()
    try:
        files = [file for file in fs.ls(folder, detail=True) if file["type"] == "file"]
    except FileNotFoundError:
        raise FileNotFoundError(f"neither {folder}.tar nor a folder {folder} is beside {uri}") from None
    return sorted(files, key=lambda file: str(file["name"]))


def image_members(uri: str, handle: IO[bytes]) -> Iterator[tuple[str, int, int]]:
    """(name, offset, length) of each image in a tar; RequestError for a broken one."""
    try:
        with tarfile.open(fileobj=handle, mode="r:") as tar:
            for member in tar:
                if member.isfile() and _key(member.name)[1]:
                    yield member.name, member.offset_data, member.size
    except tarfile.TarError as error:
        raise RequestError(f"{uri} is a broken tar ({error}); copy it again, or let what wrote it write it again") from None


def _members(uri: str, handle: IO[bytes]) -> dict[str, tuple[int, int]]:
    """Key → (offset, length) of each image in a tar; RequestError for a broken one."""
    return {_key(name)[0]: (offset, length) for name, offset, length in image_members(uri, handle)}


def _key(path: str) -> tuple[str, bool]:
    """The key in the name of a file or member, and whether that is an image's."""
    key, dot, ending = path.rpartition("/")[2].partition(".")
    return key, dot + ending.lower() in ENDINGS
