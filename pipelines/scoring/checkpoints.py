"""Weights by path or URI, with the sha256 of their bytes for the manifest. Never pickles."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from infra.compat.errors import RequestError


@dataclass(frozen=True)
class Checkpoint:
    """A local copy of a weights file, and the sha256 of its bytes."""

    path: Path
    sha256: str


def checkpoint(setting: str, uri: str) -> Checkpoint:
    """The weights that a setting names; RequestError when there are none, or they are a pickle."""
    if not uri.endswith((".safetensors", ".onnx")):
        raise RequestError(f"{setting} = {uri!r} is no .safetensors file; convert the weights (pickles are not loaded)")
    try:
        return read_file(uri)
    except OSError as error:
        raise RequestError(f"{setting} = {uri!r} cannot be read ({error.strerror or error}); name a file that is there") from None


def read_file(uri: str) -> Checkpoint:
    """A file by path or URI, copied to this machine where it lies elsewhere; OSError when it cannot be read."""
    path = Path(fsspec.open_local(f"simplecache::{uri}") if "://" in uri else uri)
    with path.open("rb") as handle:
        return Checkpoint(path, hashlib.file_digest(handle, "sha256").hexdigest())


def load_state(model: Any, path: Path, what: str) -> None:
    """Loads safetensors into a torch model; RequestError, beginning with `what`, when they are another model's."""
    from safetensors.torch import load_file

    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise RequestError(f"{what}: {path.name} does not fit ({first[0].strip()}); name weights of that model") from None
