"""Local paths that mean the same in every process, and the cache folder."""

from __future__ import annotations

import os
import re
from pathlib import Path


def cache_folder() -> Path:
    """Where this machine keeps what can be made or fetched again: `$XDG_CACHE_HOME/pairmill`, or `~/.cache/pairmill`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pairmill"


def absolute(path: str) -> str:
    """A path without `~`, `.`, `..` and doubled slashes, from the working folder on; a URI with a scheme, or "", as it is.

    Worked out where a job starts: Ray's workers have another working folder.
    """
    path = re.sub("^file:(//)?(?=/)", "", path)
    if not path or "://" in path:
        return path
    # Path.expanduser() raises for a user that is not known.
    parts = Path(re.sub("^/+", "/", os.path.expanduser(path))).parts  # noqa: PTH111
    # What is above a link is above what it points to, so a path is resolved up to its last `..`; behind that links keep names.
    end = max((place + 1 for place, part in enumerate(parts) if part == ".."), default=0)
    above = Path(*parts[:end]).resolve() if end else Path.cwd()
    return str(above.joinpath(*parts[end:]))
