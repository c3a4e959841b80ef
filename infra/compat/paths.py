"""Local paths that mean the same in every process."""

from __future__ import annotations

import os
from pathlib import Path


def absolute(path: str) -> str:
    """A path without `~`, `.`, `..` and doubled slashes, from the working folder on; a URI with a scheme, or "", as it is.

    Worked out where a job starts: Ray's workers have another working folder.
    """
    path = path.removeprefix("file://")
    if not path or "://" in path:
        return path
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 – a link keeps its name, which Path.resolve() would follow
