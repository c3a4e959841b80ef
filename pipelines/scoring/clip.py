"""CLIP similarity of picture and caption, by a model of open_clip, transformers or in ONNX; heads read its embeddings."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from infra.compat.errors import RequestError, nearest
from infra.compat.torchvision_operators import define_missing_operators
from pipelines.images.square import BICUBIC, BILINEAR, SHORTEST, SQUASH, Square
from pipelines.scoring import hugging_face
from pipelines.scoring.checkpoints import Checkpoint, checkpoint_of, load_state, read_file, require_sha256
from pipelines.scoring.score import Batch, Score, Scorer
from pipelines.scoring.settings import ScoreSettings

if TYPE_CHECKING:
    from filters.scores.clip import Clip
    from filters.scores.onnx_clip import OnnxClip

ONNX = "onnx"
FOLDERS = (ONNX, hugging_face.NAME)  # models whose checkpoint is a folder
ONNX_FILES = ("image.onnx", "text.onnx", "tokenizer.json", "clip.json")


def provenance(settings: ScoreSettings) -> dict[str, Any] | None:
    """Name and sha256 of the CLIP that the settings name, None where they name none; RequestError when half of it is missing."""
    if not (settings.clip_model or settings.clip_checkpoint):
        return None
    if not (settings.clip_model and settings.clip_checkpoint):
        raise RequestError("score.clip_model and score.clip_checkpoint go together; set both or neither")
    return {"model": settings.clip_model, "sha256": _digest(settings), **settings.variant()}


def _digest(settings: ScoreSettings) -> str:
    """sha256 of the CLIP weights; of a folder's files those of all files, one behind the other."""
    folder = settings.clip_checkpoint
    if settings.clip_model not in FOLDERS:
        return checkpoint_of(settings, "clip_checkpoint").sha256
    files = onnx_files(folder) if settings.clip_model == ONNX else hugging_face.files(folder)
    digest = hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()
    require_sha256("score.clip_checkpoint", folder, digest, settings.sha256.get("clip_checkpoint", ""))
    return digest


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


def load_clip(settings: ScoreSettings, device: str) -> Clip:
    """The CLIP the settings name, loaded once; RequestError in one line for an unknown model or weights that do not fit."""
    relevant = {"clip_model", "clip_checkpoint", "gpus", "dtype", "sha256"}
    return _load_clip(settings.model_dump_json(include=relevant), device)


@lru_cache(1)
def _load_clip(settings_json: str, device: str) -> Clip:
    settings = ScoreSettings.model_validate_json(settings_json)
    if settings.clip_model == ONNX:
        return load_onnx_clip(settings.clip_checkpoint, 0 if settings.gpus else 1)
    define_missing_operators()
    if settings.clip_model == hugging_face.NAME:
        return hugging_face.load(settings.clip_checkpoint, device, half=settings.is_half)
    return _load_open_clip(settings, device)


def _load_open_clip(settings: ScoreSettings, device: str) -> Clip:
    import open_clip

    from filters.scores.clip import TorchClip

    clip_model = settings.clip_model
    if clip_model.endswith(".json"):
        open_clip.add_model_config(clip_model)
    name = Path(clip_model).stem if clip_model.endswith(".json") else clip_model
    if name not in open_clip.list_models():
        known = [*open_clip.list_models(), *FOLDERS]
        raise RequestError(
            f"score.clip_model = {name!r} is no open_clip model, nor {' or '.join(FOLDERS)}; {nearest(name, known)}"
        )
    logging.disable(logging.WARNING)  # open_clip warns of random weights; ours are loaded in the next line
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=None, load_weights=False)
    finally:
        logging.disable(logging.NOTSET)
    load_state(model, checkpoint_of(settings, "clip_checkpoint").path, f"score.clip_checkpoint for {name}")
    model, tokenizer, about = model.eval().to(device), open_clip.get_tokenizer(name), open_clip.get_model_preprocess_cfg(model)
    square = _square_of(about)
    return TorchClip(
        encode_image=model.encode_image,
        encode_text=model.encode_text,
        needed=square.needed if square else 0,
        preprocessing=f"{square or 'by open_clip'}; {json.dumps(about)}",
        prepare=square.of if square else lambda pixels: preprocess(Image.fromarray(pixels)).numpy(),
        tokenise=lambda caption: tokenizer([caption])[0].numpy(),
        mean=about["mean"],
        std=about["std"],
        device=device,
        half=settings.is_half,
    )


def _square_of(about: Mapping[str, Any]) -> Square | None:
    """open_clip's preprocessing as a square of ours; None for one that is no such thing, which open_clip then does itself."""
    side, mode = about["size"], about.get("resize_mode", SHORTEST)
    height, width = (side, side) if isinstance(side, int) else side
    filter = about.get("interpolation", BICUBIC)
    if height != width or mode not in (SHORTEST, SQUASH) or filter not in (BICUBIC, BILINEAR):
        return None
    return Square(width, width if mode == SHORTEST else 0, filter)


def _load(settings: ScoreSettings, device: str) -> Scorer:
    from filters.scores.similarity import similarity

    def score(batch: Batch) -> np.ndarray:
        assert batch.embeddings is not None and batch.of_captions is not None
        return similarity(batch.embeddings, batch.of_captions)

    return score


SCORES = [Score("clip_similarity", provenance, _load, reads_captions=True, reads_pictures=False)]
