"""The bytes of files that annotations name: a path, a URI, a member of a tar, on any fsspec file system."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem

from infra.compat.failures import failure_line
from infra.compat.files import file_system
from sharding.ranges import Range, range_reader, retried
from sharding.tar_headers import LOCAL_WINDOW, REMOTE_WINDOW, Window, read_members

TARS = 256  # whose members are remembered, the last used
INSIDE = ".tar/"


def within(root: str, path: str) -> str:
    """Where a file lies: an absolute path, URI or data URI as it is, else within `root`, a folder, a tar, or their URI."""
    if not root or path.startswith(("/", "data:")) or "://" in path:
        return path
    return f"{root.rstrip('/')}/{path.removeprefix('./')}"


class Unreadable(OSError):
    """Why a file cannot be read, in one line with its name."""


class _Tar(NamedTuple):
    path: str
    fs: fsspec.AbstractFileSystem
    members: dict[str, tuple[int, int]]


class NamedFiles:
    """Reads files by URI; a path that goes on behind `.tar/` names a member. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tar = lru_cache(TARS)(_open_tar)

    def read(self, uri: str) -> bytes:
        """The bytes; Unreadable in one line when there are none."""
        tar, inside, member = uri.rpartition(INSIDE)
        try:
            return self._read_member(f"{tar}.tar", member) if inside else retried(lambda: _read_file(uri))
        except (MemoryError, Unreadable):
            raise
        except Exception as error:  # file systems raise many kinds
            raise Unreadable(f"{uri} cannot be read: {failure_line(error) or error}") from None

    def _read_member(self, uri: str, member: str) -> bytes:
        with self._lock:  # one thread reads the headers, the others wait for what it finds
            tar = self._tar(uri)
        if member not in tar.members:
            raise Unreadable(f"{uri} has no member {member}")
        (data,) = range_reader(tar.fs, 1).read([Range(tar.path, *tar.members[member])])
        if isinstance(data, Exception):
            raise data
        return data


def _open_tar(uri: str) -> _Tar:
    fs, path = file_system(uri)
    block = LOCAL_WINDOW if isinstance(fs, LocalFileSystem) else REMOTE_WINDOW
    with fs.open(path, "rb") as handle:
        contents = read_members(Window(handle, fs.info(path)["size"], block))
    return _Tar(path, fs, {each.name: (each.offset, each.offset + each.length) for each in contents.members})


def _read_file(uri: str) -> bytes:
    fs, path = file_system(uri)
    data: bytes = fs.cat_file(path)
    return data
