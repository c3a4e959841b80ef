"""Where a run writes: a folder, or any fsspec URI."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from infra.compat.errors import RequestError
from infra.compat.files import file_system
from infra.compat.paths import absolute

STATES = "state"


class RunFolder:
    """The folder of one run. Where it is no local one, each machine works in a copy on its own disk.

    local   the folder, or the copy: metrics, faults, tokenizer and model
    states  the URI of the saved states, which are written where they belong, not in a copy
    """

    def __init__(self, uri: str) -> None:
        self.uri = absolute(uri).rstrip("/")
        self.fs, self.base = file_system(self.uri)
        self.is_copy = not isinstance(self.fs, LocalFileSystem)
        self.states = f"{self.uri}/{STATES}"
        self.local = Path(self.base)
        if self.is_copy:
            name = f"pairmill-{os.getuid()}-{sha256(self.uri.encode()).hexdigest()[:16]}"
            self.local = Path(tempfile.gettempdir()) / name
        self._published: dict[Path, tuple[int, int]] = {}
        self._lock: int | None = None

    def open(self) -> None:
        """Makes the local folder; a copy holds what is at the URI, no more. The first process of each machine does it.

        RequestError while another training on this machine writes there.
        """
        if not _is_first():
            return
        self._claim()
        if self.is_copy:
            shutil.rmtree(self.local, ignore_errors=True)
            self.fs.invalidate_cache()
            names = (path[len(self.base) + 1 :] for path in self.fs.find(self.base))
            for name in names:
                if not name.startswith(f"{STATES}/"):
                    target = self.local / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self.fs.get_file(f"{self.base}/{name}", str(target))
        self.local.mkdir(parents=True, exist_ok=True)
        self._published = self._stamps()

    def _claim(self) -> None:
        """Locks the folder, or a file beside the copy; the system gives it back when the process ends."""
        if os.environ.get("RANK", "0") != "0":
            return  # of a run on several machines one process holds the folder that they share
        if self.is_copy:
            lock = os.open(self.local.with_suffix(".lock"), os.O_RDONLY | os.O_CREAT, 0o600)
        else:
            self.local.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.local, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise RequestError(f"another training writes to {self.uri}; wait for its end, or name another --out") from None
        except OSError:
            pass  # a file system without locks
        self._lock = lock

    def release(self) -> None:
        """Lets another training have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def publish(self) -> None:
        """Copies what was written since `open` or the last time to the URI. The first process of each machine does it."""
        if not self.is_copy or not _is_first():
            return
        stamps = self._stamps()
        for path, stamp in stamps.items():
            if self._published.get(path) != stamp:
                self.fs.put_file(str(path), f"{self.base}/{path.relative_to(self.local).as_posix()}")
        self._published = stamps

    def close(self) -> None:
        """Publishes, and removes the copy. The first process of each machine does it, once the others write nothing more."""
        self.publish()
        if self.is_copy and _is_first():
            shutil.rmtree(self.local, ignore_errors=True)

    def _stamps(self) -> dict[Path, tuple[int, int]]:
        """Time of change and size of each file of a copy."""
        files = (path for path in sorted(self.local.rglob("*")) if path.is_file()) if self.is_copy else ()
        return {path: ((info := path.stat()).st_mtime_ns, info.st_size) for path in files}


def _is_first() -> bool:
    """Whether this is the first process of its machine."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
