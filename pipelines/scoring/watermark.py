"""The watermark probability, by a timm classifier."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from infra.compat.errors import RequestError, nearest
from infra.compat.torchvision_operators import define_missing_operators
from pipelines.images.square import ROOM
from pipelines.scoring.checkpoints import checkpoint_of, load_state
from pipelines.scoring.score import PixelScorer, Score
from pipelines.scoring.settings import ScoreSettings


def _provenance(settings: ScoreSettings) -> dict[str, Any] | None:
    if not settings.watermark_model:
        return None
    weights = checkpoint_of(settings, "watermark_checkpoint").sha256
    of = {"model": settings.watermark_model, "sha256": weights, "class": settings.watermark_class}
    return of | settings.variant()


def _load(settings: ScoreSettings, device: str) -> PixelScorer:
    from filters.scores.watermark import prepare, watermark

    model, preprocess, side = load_classifier(settings, device)
    index, half = settings.watermark_class, settings.is_half
    return PixelScorer(partial(prepare, preprocess), lambda inputs: watermark(model, inputs, index, device, half), ROOM * side)


def load_classifier(settings: ScoreSettings, device: str) -> tuple[Any, Any, int]:
    """The timm classifier, its preprocessing and the side that this resizes to.

    RequestError for an unknown model or weights that do not fit.
    """
    define_missing_operators()
    import timm
    from safetensors import safe_open

    name = settings.watermark_model
    if name not in timm.list_models():
        raise RequestError(f"score.watermark_model = {name!r} is no timm model; {nearest(name, timm.list_models())}")
    path = checkpoint_of(settings, "watermark_checkpoint").path
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
    load_state(model, path, f"score.watermark_checkpoint for {name}")
    data = timm.data.resolve_data_config({}, model=model)
    preprocess = timm.data.create_transform(**data, is_training=False)
    return model.eval().to(device), preprocess, math.ceil(max(data["input_size"][1:]) / data["crop_pct"])


SCORES = [Score("watermark", _provenance, _load, reads_pictures=False)]
