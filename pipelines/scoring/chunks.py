"""Scores a chunk of samples: pictures are read and decoded ahead, so that models never wait for them.

Scores of pictures alone are computed first, on each distinct picture, along with its CLIP embedding. Those that read captions
follow, on each sample that has a caption and a picture that could be decoded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipelines.manifest.embeddings import encoded
from pipelines.manifest.pictures import StoredPicture
from pipelines.manifest.storage import Storage
from pipelines.runtime.picture_chunks import Finished, decode_ahead, read_pictures
from pipelines.scoring import scores
from pipelines.scoring.clip import load_embedder
from pipelines.scoring.score import Batch, Scorer
from pipelines.scoring.settings import ScoreSettings


@dataclass(frozen=True)
class LoadedScores:
    """The models a worker holds: CLIP's picture encoder (None without CLIP), and scorers by the name of their score."""

    embed: Callable[[Sequence[Image.Image]], np.ndarray] | None
    of_pictures: Mapping[str, Scorer]
    of_captions: Mapping[str, Scorer]

    def embedding_alone(self) -> LoadedScores:
        """The same, that computes no score."""
        return LoadedScores(self.embed, {}, {})


@lru_cache(1)
def load_scores(settings_json: str, names: tuple[str, ...]) -> LoadedScores:
    """Loads the models of these scores once per worker process; on its GPU where it has one."""
    import torch

    settings = ScoreSettings.model_validate_json(settings_json)
    device = "cuda" if settings.gpus and torch.cuda.is_available() else "cpu"
    embed = load_embedder(settings, device)
    chosen = [scores()[name] for name in names]
    of_pictures = {score.name: score.load(settings, device) for score in chosen if not score.reads_captions}
    of_captions = {score.name: score.load(settings, device) for score in chosen if score.reads_captions}
    return LoadedScores(embed, of_pictures, of_captions)


def score_chunk(
    storage: Storage,
    pictures: Sequence[StoredPicture],
    picture_of: Sequence[int],
    captions: Sequence[str],
    loaded: LoadedScores,
    settings: ScoreSettings,
    finished: Finished,
) -> pa.Table:
    """Scores of samples, float32: sample i shows `pictures[picture_of[i]]` and has `captions[i]`; a row per sample, in order.

    A picture that cannot be decoded has no scores, but an `error`; a blank caption none that read captions. NaN and infinity are
    NULL. Where embeddings are kept they are in `embedding` and `scale`. `finished(first, last)` is called as pictures first …
    last - 1 end.
    """
    batch_size = settings.batch
    by_picture, embeddings, decodable = _score_pictures(storage, pictures, loaded, batch_size, finished)
    columns = {name: values[np.asarray(picture_of, dtype=np.int64)] for name, values in by_picture.items()}
    rows = [i for i, caption in enumerate(captions) if picture_of[i] in decodable and caption.strip()]
    for name, scorer in loaded.of_captions.items():
        columns[name] = np.full(len(captions), np.nan, dtype=np.float32)
        for start in range(0, len(rows), batch_size):
            batch_rows = rows[start : start + batch_size]
            shown = [picture_of[i] for i in batch_rows]
            columns[name][batch_rows] = scorer(
                Batch(
                    partial(read_pictures, storage, [pictures[index] for index in shown]),
                    np.stack([embeddings[index] for index in shown]) if embeddings else None,
                    [captions[i] for i in batch_rows],
                )
            )
    table = {name: pa.array(values, pa.float32(), mask=~np.isfinite(values)) for name, values in columns.items()}
    table["error"] = pa.array([None if index in decodable else "undecodable" for index in picture_of], pa.string())
    return pa.table(table | _kept_embeddings(embeddings, picture_of, settings.embeddings))


def _kept_embeddings(of_picture: Mapping[int, np.ndarray], picture_of: Sequence[int], dtype: str) -> dict[str, pa.Array]:
    """The columns `embedding` and `scale` of samples, NULL for a picture that has none; no columns where none are kept."""
    if not dtype or not of_picture:
        return {}
    rows = {index: row for row, index in enumerate(of_picture)}
    shown = pa.array([rows.get(index) for index in picture_of], pa.int64())
    embedding, scale = encoded(np.stack(list(of_picture.values())), dtype)
    return {"embedding": embedding.take(shown), "scale": scale.take(shown)}


def _score_pictures(
    storage: Storage, pictures: Sequence[StoredPicture], loaded: LoadedScores, batch_size: int, finished: Finished
) -> tuple[dict[str, np.ndarray], dict[int, np.ndarray], set[int]]:
    """Scores of pictures alone by name, embeddings by index, and the indices of pictures that could be decoded."""
    by_picture = {name: np.full(len(pictures), np.nan, dtype=np.float32) for name in loaded.of_pictures}
    embeddings: dict[int, np.ndarray] = {}
    decodable: set[int] = set()
    for first, last, indices, images in decode_ahead(storage, pictures, batch_size):
        if images:
            decodable.update(indices)
            vectors = loaded.embed(images) if loaded.embed is not None else None
            if vectors is not None:
                embeddings.update(zip(indices, vectors, strict=True))
            batch = Batch(partial(list, images), vectors)
            for name, scorer in loaded.of_pictures.items():
                by_picture[name][indices] = scorer(batch)
        finished(first, last)
    return by_picture, embeddings, decodable


def footer(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Provenance as the metadata of a family's files."""
    return {"pairmill.score_models": json.dumps(provenance, sort_keys=True)}
