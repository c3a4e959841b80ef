"""Weights by path or URI, with the sha256 of their bytes for the manifest. Never pickles."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from infra.compat.errors import RequestError
from pipelines.scoring.settings import ScoreSettings, Weights


@dataclass(frozen=True)
class Checkpoint:
    """A local copy of a weights file, and the sha256 of its bytes."""

    path: Path
    sha256: str


CONVERT = (
    """python -c "import torch, safetensors.torch as s; s.save_file(torch.load('W.pth', weights_only=True), 'W.safetensors')" """
)


def checkpoint_of(settings: ScoreSettings, name: Weights) -> Checkpoint:
    """The weights that the setting `name` names, of the sha256 that is expected; RequestError as `checkpoint`."""
    return checkpoint(f"score.{name}", getattr(settings, name), settings.sha256.get(name, ""))


def checkpoint(setting: str, uri: str, expected: str = "") -> Checkpoint:
    """The weights that a setting names; RequestError when there are none, or a pickle, a broken file or one of another sha256."""
    if not uri.endswith((".safetensors", ".onnx")):
        raise RequestError(f"{setting} = {uri!r} is no .safetensors file; convert it (pickles are not loaded): {CONVERT.strip()}")
    try:
        found = read_file(uri)
        require_sha256(setting, uri, found.sha256, expected)
        if uri.endswith(".safetensors"):
            _require_whole(setting, uri, found.path)
        return found
    except OSError as error:
        raise RequestError(f"{setting} = {uri!r} cannot be read ({error.strerror or error}); name a file that is there") from None


def require_sha256(setting: str, uri: str, sha256: str, expected: str) -> None:
    """RequestError where the weights are not those that the recipe expects."""
    if expected and expected.lower() != sha256:
        name = setting.removeprefix("score.")
        raise RequestError(
            f"{setting} = {uri!r} has the sha256 {sha256}, not {expected}; name the expected weights, "
            f"or correct score.sha256.{name}"
        )


def _require_whole(setting: str, uri: str, path: Path) -> None:
    """RequestError where a file is no safetensors, or one that is cut."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np"):
            pass
    except SafetensorError as error:
        raise RequestError(
            f"{setting} = {uri!r} is no safetensors file, or a cut one ({error}); copy the weights again"
        ) from None


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
