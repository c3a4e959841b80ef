"""States in a folder, or below any fsspec URI: `step00000010/` holds a file of each rank, and state.json, written last.

A folder without state.json was not finished and is passed over. Older states are removed once the new one is whole, state.json
first, so that a kill at any moment leaves the newest whole state to go on from.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from fsspec.implementations.local import LocalFileSystem

from infra.compat.errors import RequestError
from infra.compat.failures import failure_line
from infra.compat.files import file_system, write_whole
from infra.compat.paths import absolute
from sharding.ranges import RangeReader, range_reader

MARKER = "state.json"
STEP = re.compile(r"step(\d{8,})(?:/(.+))?")
OPEN_FILES = 64  # of other ranks, while their shares are read
PROBE = ".writable"
PAUSES = (0.1, 1, 5, 20, 60)  # seconds until a file that another machine wrote is seen: NFS shows an old listing for a while


class StateFolder:
    """The states below a URI, each by the number of steps it was saved after."""

    def __init__(self, uri: str) -> None:
        self.uri = absolute(uri)
        self.fs, self.base = file_system(self.uri)

    def path(self, steps: int, name: str = "") -> str:
        """A file of a state, or its folder, as the file system knows it."""
        return f"{self.base}/step{steps:08d}" + (f"/{name}" if name else "")

    def reader(self) -> RangeReader:
        """Reads ranges of its files."""
        return range_reader(self.fs, OPEN_FILES)

    def require_writable(self) -> None:
        """RequestError when nothing can be written there."""
        try:
            write_whole(self.fs, f"{self.base}/{PROBE}", b"")
            self.fs.rm_file(f"{self.base}/{PROBE}")
        except Exception as error:  # object stores raise many kinds
            if (line := failure_line(error)) is None:
                raise
            raise RequestError(f"{self.uri} is not writable ({line})") from None

    def newest(self) -> dict[str, Any] | None:
        """What state.json of the newest whole state says; None where there is no state.

        RequestError when that state has lost files, or when DeepSpeed wrote what is there.
        """
        files = self._files()
        self._refuse_pickles(files)
        steps = max((steps for steps, names in files.items() if MARKER in names), default=None)
        if steps is None:
            return None
        path = self.path(steps, MARKER)
        try:
            document: dict[str, Any] = json.loads(self.fs.cat_file(path))
            sizes: dict[str, int] = document["files"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._broken(steps, f"{path} cannot be read: {error}") from None
        for name, size in sizes.items():
            if name not in files[steps]:
                raise self._broken(steps, f"{name} is missing")
            if files[steps][name] != size:
                raise self._broken(steps, f"{name} has {files[steps][name]:,} bytes, not {size:,}")
        return document

    def _broken(self, steps: int, cause: str) -> RequestError:
        folder = self.path(steps)
        return RequestError(f"the state {folder} is broken: {cause}; delete the folder to go on from the state before it")

    @contextmanager
    def create(self, steps: int, name: str) -> Iterator[BinaryIO]:
        """A file of a state, to be written from its beginning to its end; on the disk, where it is local, when the block ends."""
        path = self.path(steps, name)
        local = isinstance(self.fs, LocalFileSystem)
        if local:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        with self.fs.open(path, "wb") as stream:
            yield stream
            if local:
                stream.flush()
                os.fsync(stream.fileno())

    def finish(self, steps: int, names: list[str], document: dict[str, Any], keep: int) -> None:
        """Marks a state as whole, when the files named are there, and removes all states but the newest `keep`."""
        files = self._files()
        for pause in PAUSES:
            if files.get(steps, {}).keys() >= set(names):
                break
            time.sleep(pause)
            files = self._files()
        missing = set(names) - files.get(steps, {}).keys()
        if missing:
            raise RequestError(
                f"rank 0 cannot see {len(missing)} of {len(names)} files in {self.path(steps)}; "
                "name an --out that all ranks share"
            )
        sizes = {name: files[steps][name] for name in names}
        write_whole(self.fs, self.path(steps, MARKER), json.dumps(document | {"files": sizes}).encode())
        whole = sorted((each for each, names in files.items() if MARKER in names and each != steps), reverse=True)
        kept = {steps, *whole[: keep - 1]}
        for each in files.keys() - kept:
            if each in whole:
                self.fs.rm_file(self.path(each, MARKER))
            self.fs.rm(self.path(each), recursive=True)

    def _files(self) -> dict[int, dict[str, int]]:
        """The sizes of files by name, of each state by its steps, finished or not."""
        self.fs.invalidate_cache()
        files: dict[int, dict[str, int]] = {}
        for path, info in self.fs.find(self.base, withdirs=True, detail=True).items():
            if match := STEP.fullmatch(path[len(self.base) + 1 :].rstrip("/")):
                names = files.setdefault(int(match[1]), {})
                if match[2]:
                    names[match[2]] = info["size"]
        return files

    def _refuse_pickles(self, files: dict[int, dict[str, int]]) -> None:
        pickles = any(name.endswith(".pt") for names in files.values() for name in names)
        if pickles or self.fs.exists(f"{self.base}/latest"):
            raise RequestError(
                f"{self.uri} holds states that DeepSpeed wrote as pickles, which can run code and are never read; name another "
                "--out, and a model folder to start from with --from"
            )
