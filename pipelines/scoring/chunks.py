"""Scores a chunk of samples: pictures are read and decoded ahead, so that models never wait for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from filters.scores.aesthetic import aesthetic
from filters.scores.similarity import similarity
from filters.scores.unsafe import unsafe
from filters.scores.watermark import watermark
from pipelines.images.chunks import Place, decoded
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import FAMILIES
from pipelines.scoring import models
from pipelines.scoring.settings import ScoreSettings

SCORES = [name for name in FAMILIES["scores"].names if name != "sample_id"]


@dataclass
class Scorers:
    """The models a worker holds; None where the settings name none."""

    clip: Any
    head: tuple[np.ndarray, float] | None
    watermark: Any
    unsafe: Any


@lru_cache(1)
def scorers(settings_json: str) -> Scorers:
    """Loads the models once per worker process; on its GPU where it has one."""
    import torch

    settings = ScoreSettings.model_validate_json(settings_json)
    device = "cuda" if settings.gpus and torch.cuda.is_available() else "cpu"
    clip = models.load_clip(settings, device) if settings.clip_checkpoint else None
    head = None
    if clip is not None and settings.aesthetic_checkpoint:
        head = models.load_aesthetic(settings, clip.embed_captions(["x"]).shape[1])
    marks = (*models.load_watermark(settings, device), settings.watermark_class, device) if settings.watermark_model else None
    return Scorers(clip, head, marks, models.load_open_nsfw() if settings.unsafe else None)


def score_chunk(
    storage: Storage,
    places: Sequence[Place],
    rows: Sequence[int],
    captions: Sequence[str],
    settings: ScoreSettings,
    finished: Callable[[int, int], None],
) -> pa.Table:
    """Scores of samples: sample i shows picture `places[rows[i]]` and says `captions[i]`; a row per sample, in order.

    A picture that cannot be decoded has no scores, an empty caption no similarity. `finished(first, last)` is called as pictures
    first … last - 1 end.
    """
    loaded = scorers(settings.model_dump_json())
    by_picture = {name: np.full(len(places), np.nan, dtype=np.float32) for name in SCORES}
    embeddings: dict[int, np.ndarray] = {}
    for batch, (indices, pictures) in enumerate(decoded(storage, places, settings.batch)):
        if pictures:
            _score_pictures(loaded, indices, pictures, by_picture, embeddings)
        finished(batch * settings.batch, (batch + 1) * settings.batch)
    found = {name: values[np.asarray(rows, dtype=np.int64)] for name, values in by_picture.items()}
    if loaded.clip is not None:
        found["clip_similarity"] = _similarities(loaded, rows, captions, embeddings, settings.batch)
    return pa.table({name: pa.array(found[name], pa.float32(), from_pandas=True) for name in SCORES})


def _score_pictures(
    loaded: Scorers,
    indices: Sequence[int],
    pictures: Sequence[Image.Image],
    scores: dict[str, np.ndarray],
    embeddings: dict[int, np.ndarray],
) -> None:
    if loaded.clip is not None:
        vectors = loaded.clip.embed_pictures(pictures)
        embeddings.update(zip(indices, vectors, strict=True))
        if loaded.head is not None:
            scores["aesthetic"][indices] = aesthetic(vectors, *loaded.head)
    if loaded.watermark is not None:
        model, preprocess, index, device = loaded.watermark
        scores["watermark"][indices] = watermark(model, preprocess, pictures, index, device)
    if loaded.unsafe is not None:
        scores["unsafe"][indices] = unsafe(loaded.unsafe, pictures)


def _similarities(
    loaded: Scorers, rows: Sequence[int], captions: Sequence[str], embeddings: dict[int, np.ndarray], batch: int
) -> np.ndarray:
    found = np.full(len(rows), np.nan, dtype=np.float32)
    able = [i for i, (row, caption) in enumerate(zip(rows, captions, strict=True)) if row in embeddings and caption.strip()]
    for start in range(0, len(able), batch):
        piece = able[start : start + batch]
        texts = loaded.clip.embed_captions([captions[i] for i in piece])
        found[piece] = similarity(np.stack([embeddings[rows[i]] for i in piece]), texts)
    return found


def footer(provenance: dict[str, Any]) -> dict[str, str]:
    """Provenance as the metadata of a family's files."""
    return {"pairmill.score_models": json.dumps(provenance, sort_keys=True)}
