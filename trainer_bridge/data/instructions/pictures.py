"""The bytes of a picture that an entry names: a file, a member of a tar, on any fsspec URI."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem

from infra.compat.failures import failure_line
from infra.compat.files import file_system
from sharding.ranges import Range, retried
from sharding.ranges import range_reader as open_ranges
from sharding.tar_headers import LOCAL_WINDOW, REMOTE_WINDOW, Window, read_members
from trainer_bridge.data.instructions.example import SampleFault

TARS = 256  # whose members are remembered, the last used
INSIDE = ".tar/"


def picture_uri(root: str, path: str) -> str:
    """Where a picture lies: an absolute path, URI or data URI as it is, else within `root`, a folder, a tar, or their URI."""
    if not root or path.startswith(("/", "data:")) or "://" in path:
        return path
    return f"{root.rstrip('/')}/{path.removeprefix('./')}"


class _Tar(NamedTuple):
    path: str
    fs: fsspec.AbstractFileSystem
    members: dict[str, tuple[int, int]]


class Pictures:
    """Reads pictures by URI; a path that goes on behind `.tar/` names a member. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tar = lru_cache(TARS)(self._open_tar)

    def read(self, uri: str) -> bytes:
        """The bytes; SampleFault in one line when there are none."""
        tar, inside, member = uri.rpartition(INSIDE)
        try:
            return self._read_member(f"{tar}.tar", member) if inside else retried(lambda: _read_file(uri))
        except (MemoryError, SampleFault):
            raise
        except Exception as error:  # file systems raise many kinds
            raise SampleFault("missing", f"{uri} cannot be read: {failure_line(error) or error}") from None

    def _read_member(self, uri: str, member: str) -> bytes:
        with self._lock:  # one thread reads the headers, the others wait for what it finds
            tar = self._tar(uri)
        if member not in tar.members:
            raise SampleFault("missing", f"{uri} has no member {member}")
        (data,) = open_ranges(tar.fs, 1).read([Range(tar.path, *tar.members[member])])
        if isinstance(data, Exception):
            raise data
        return data

    @staticmethod
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
