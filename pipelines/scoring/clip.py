"""CLIP similarity of picture and caption, by an open_clip model or one in ONNX; other scores read its embeddings."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.compat.errors import RequestError, nearest
from infra.compat.torchvision_operators import define_missing_operators
from pipelines.scoring.checkpoints import Checkpoint, checkpoint, load_state, read_file
from pipelines.scoring.score import Batch, Score, Scorer
from pipelines.scoring.settings import ScoreSettings

if TYPE_CHECKING:
    from PIL import Image

    from filters.scores.onnx_clip import OnnxClip

ONNX = "onnx"
ONNX_FILES = ("image.onnx", "text.onnx", "tokenizer.json", "clip.json")


def provenance(settings: ScoreSettings) -> dict[str, Any] | None:
    """Name and sha256 of the CLIP that the settings name, None where they name none; RequestError when half of it is missing."""
    if not (settings.clip_model or settings.clip_checkpoint):
        return None
    if not (settings.clip_model and settings.clip_checkpoint):
        raise RequestError("score.clip_model and score.clip_checkpoint go together; set both or neither")
    return {"model": settings.clip_model, "sha256": _digest(settings)}


def _digest(settings: ScoreSettings) -> str:
    """sha256 of the CLIP weights; of all files of an ONNX export."""
    if settings.clip_model != ONNX:
        return checkpoint("score.clip_checkpoint", settings.clip_checkpoint).sha256
    return hashlib.sha256("".join(file.sha256 for file in onnx_files(settings.clip_checkpoint)).encode()).hexdigest()


def onnx_files(folder: str) -> list[Checkpoint]:
    """Local copies of an ONNX export's files, in the order of `ONNX_FILES`; RequestError when one is missing."""
    files = []
    for name in ONNX_FILES:
        try:
            files.append(read_file(f"{folder.rstrip('/')}/{name}"))
        except OSError as error:
            raise RequestError(
                f"score.clip_checkpoint = {folder!r} holds no readable {name} ({error.strerror or error}); "
                "name a folder that trainer_bridge.export_onnx wrote"
            ) from None
    return files


def load_onnx_clip(folder: str, threads: int = 0) -> OnnxClip:
    """The CLIP in a folder that trainer_bridge.export_onnx wrote; RequestError in one line when it does not load.

    `threads` per session; 0 leaves it to onnxruntime.
    """
    import onnxruntime
    from tokenizers import Tokenizer

    from filters.scores.onnx_clip import OnnxClip

    image, text, tokenizer, about = (file.path for file in onnx_files(folder))
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
    """The CLIP the settings name, loaded once; RequestError in one line for an unknown model or weights that do not fit."""
    return _load_clip(settings.clip_model, settings.clip_checkpoint, device, 0 if settings.gpus else 1)


@lru_cache(1)
def _load_clip(clip_model: str, clip_checkpoint: str, device: str, threads: int) -> Any:
    if clip_model == ONNX:
        return load_onnx_clip(clip_checkpoint, threads)
    define_missing_operators()
    import open_clip

    from filters.scores.clip import ClipScore

    if clip_model.endswith(".json"):
        open_clip.add_model_config(clip_model)
    name = Path(clip_model).stem if clip_model.endswith(".json") else clip_model
    if name not in open_clip.list_models():
        known = [*open_clip.list_models(), ONNX]
        raise RequestError(f"score.clip_model = {name!r} is no open_clip model, nor {ONNX}; {nearest(name, known)}")
    logging.disable(logging.WARNING)  # open_clip warns of random weights; ours are loaded in the next line
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=None, load_weights=False)
    finally:
        logging.disable(logging.NOTSET)
    load_state(model, checkpoint("score.clip_checkpoint", clip_checkpoint).path, f"score.clip_checkpoint for {name}")
    return ClipScore(model, preprocess, open_clip.get_tokenizer(name), device)


def load_embedder(settings: ScoreSettings, device: str) -> Callable[[Sequence[Image.Image]], np.ndarray] | None:
    """The CLIP's function of pictures[N] to embeddings float32[N, D], L2-normalised; None where the settings name no CLIP."""
    return load_clip(settings, device).embed_pictures if settings.clip_model else None


def _load(settings: ScoreSettings, device: str) -> Scorer:
    from filters.scores.similarity import similarity

    clip = load_clip(settings, device)

    def score(batch: Batch) -> np.ndarray:
        assert batch.embeddings is not None and batch.captions is not None
        return similarity(batch.embeddings, clip.embed_captions(batch.captions))

    return score


SCORES = [Score("clip_similarity", provenance, _load, reads_captions=True)]
