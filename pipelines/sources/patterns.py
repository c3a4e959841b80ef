"""Paths and patterns of published files, as the list of the files they name."""

from __future__ import annotations

from collections.abc import Sequence

import fsspec

from infra.compat.errors import RequestError


def expand(patterns: Sequence[str]) -> list[str]:
    """The files that paths and glob patterns name, each once; RequestError for one that names none."""
    uris: dict[str, None] = {}
    for pattern in patterns:
        fs, path = fsspec.core.url_to_fs(pattern)
        names = sorted(fs.glob(path)) if any(c in pattern for c in "*?[") else [path] if fs.isfile(path) else []
        if not names:
            raise RequestError(f"no such file: {pattern}; name files, or a pattern in quotes")
        uris |= dict.fromkeys(fs.unstrip_protocol(name) for name in names)
    return list(uris)
