"""Scores a chunk of samples: pictures are read, decoded and made ready, and captions tokenised, ahead of the models.

Threads read stretches of the tars; others turn each picture into the pixels that each model takes, and its captions into tokens;
one more gathers them into batches. So a model waits for nothing but the first batch. Everything of a batch is computed while
it is there: embeddings are not kept for later unless they are to be written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from PIL import Image

from pipelines.images.square import upright_pixels
from pipelines.manifest.embeddings import encoded
from pipelines.manifest.pictures import StoredPicture
from pipelines.manifest.storage import Storage
from pipelines.runtime.ahead import ahead
from pipelines.runtime.picture_chunks import AHEAD, PIXEL, Finished, Prepared, prepare_ahead
from pipelines.scoring import scores
from pipelines.scoring.clip import load_clip
from pipelines.scoring.score import Batch, PixelScorer, Scorer
from pipelines.scoring.settings import ScoreSettings

if TYPE_CHECKING:
    from filters.scores.batches import Batches
    from filters.scores.clip import Clip

CORE_BATCH, GPU_BATCH = 64, 1024  # pictures of a forward pass
LIBRARIES = ("torch", "open_clip_torch", "timm", "transformers", "onnxruntime", "pillow", "simplejpeg", "pairmill")


@dataclass(frozen=True)
class LoadedScores:
    """The models a worker holds.

    clip         embeds pictures and captions; None without CLIP
    of_pixels    scorers by models of pictures, by the name of their score
    of_pictures  other scorers of pictures alone
    of_captions  scorers of pictures and captions
    keeps_images  whether one of them looks at the pictures themselves
    scaled       whether JPEGs may be decoded at a scale
    batch        pictures of a forward pass
    embeddings   the type of the embeddings to keep; "" for none
    batches      runs models on as much of a batch as their memory holds, and remembers how much that is
    """

    clip: Clip | None
    of_pixels: Mapping[str, PixelScorer] = field(default_factory=dict)
    of_pictures: Mapping[str, Scorer] = field(default_factory=dict)
    of_captions: Mapping[str, Scorer] = field(default_factory=dict)
    keeps_images: bool = True
    batch: int = CORE_BATCH
    threads: int = AHEAD
    scaled: bool = False
    embeddings: str = ""
    batches: Batches | None = None

    def embedding_alone(self) -> LoadedScores:
        """The same, that computes no score."""
        return replace(self, of_pixels={}, of_pictures={}, of_captions={}, keeps_images=False)

    @property
    def needed(self) -> int:
        """The sides in pixels that decoded pictures need; 0: all that they have."""
        needed = [scorer.needed for scorer in self.of_pixels.values()] + ([self.clip.needed] if self.clip else [])
        return 0 if self.keeps_images or not self.scaled or 0 in needed else max(needed, default=0)


@lru_cache(1)
def load_scores(settings_json: str, names: tuple[str, ...]) -> LoadedScores:
    """Loads the models of these scores once per worker process; on its GPU where it has one."""
    import torch

    from filters.scores.batches import Batches

    settings = ScoreSettings.model_validate_json(settings_json)
    device = "cuda" if settings.gpus and torch.cuda.is_available() else "cpu"
    if device != "cpu":
        torch.set_num_threads(1)  # else each thread that prepares pictures would start as many as there are cores
    chosen = [scores()[name] for name in names]
    loaded = {score.name: score.load(settings, device) for score in chosen}
    plain = {name: scorer for name, scorer in loaded.items() if not isinstance(scorer, PixelScorer)}
    reads_captions = {score.name for score in chosen if score.reads_captions}
    batch = settings.batch or (CORE_BATCH if device == "cpu" else GPU_BATCH)
    return LoadedScores(
        clip=load_clip(settings, device) if settings.clip_model else None,
        of_pixels={name: scorer for name, scorer in loaded.items() if isinstance(scorer, PixelScorer)},
        of_pictures={name: scorer for name, scorer in plain.items() if name not in reads_captions},
        of_captions={name: scorer for name, scorer in plain.items() if name in reads_captions},
        keeps_images=any(score.reads_pictures for score in chosen),
        batch=batch,
        batches=Batches(batch),
        threads=settings.threads or (AHEAD if device == "cpu" else _cores_of_a_worker(settings.gpus)),
        scaled=settings.scaled,
        embeddings=settings.embeddings,
    )


def _cores_of_a_worker(gpus: float) -> int:
    """The cores of this machine, shared among the workers that its GPUs hold."""
    cards = len([*Path("/dev").glob("nvidia[0-9]*")])
    return max(AHEAD, int(len(os.sched_getaffinity(0)) * gpus / max(1, cards)))


@dataclass(frozen=True)
class Ready:
    """A picture made ready: CLIP's pixels, inputs of scorers by name, tokens of captions by sample, and the image if kept."""

    clip: np.ndarray | None
    inputs: Mapping[str, np.ndarray]
    tokens: Mapping[int, np.ndarray]
    image: Image.Image | None

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        arrays = [*self.inputs.values(), *self.tokens.values(), *([] if self.clip is None else [self.clip])]
        image = self.image.width * self.image.height * PIXEL if self.image else 0
        return sum(array.nbytes for array in arrays) + image


def score_chunk(
    storage: Storage,
    pictures: Sequence[StoredPicture],
    picture_of: Sequence[int],
    captions: Sequence[str],
    loaded: LoadedScores,
    finished: Finished,
) -> pa.Table:
    """Scores of samples, float32: sample i shows `pictures[picture_of[i]]` and has `captions[i]`; a row per sample, in order.

    A picture that cannot be read, or gives no finite embedding, has an `error`; a blank caption no scores that read captions.
    NaN and infinity are NULL. Where embeddings are kept they are in `embedding` and `scale`. `finished(first, last)` is called as
    pictures first … last - 1 end.
    """
    from filters.scores.batches import Batches

    batches = loaded.batches or Batches(loaded.batch)
    samples_of: list[list[int]] = [[] for _ in pictures]
    for sample, picture in enumerate(picture_of):
        samples_of[picture].append(sample)
    chunk = _Chunk(loaded, samples_of, captions, batches)
    prepared = prepare_ahead(storage, pictures, loaded.batch, chunk.prepare, loaded.threads)
    for found in ahead(prepared):
        chunk.score(found)
        finished(found.first, found.last)
    return chunk.table(picture_of)


class _Chunk:
    """The scores of a chunk, filled batch by batch."""

    def __init__(
        self, loaded: LoadedScores, samples_of: Sequence[Sequence[int]], captions: Sequence[str], batches: Batches
    ) -> None:
        self.loaded, self.samples_of, self.captions, self.batches = loaded, samples_of, captions, batches
        self.of_picture = {name: _nothing(len(samples_of)) for name in (*loaded.of_pixels, *loaded.of_pictures)}
        self.of_sample = {name: _nothing(len(captions)) for name in loaded.of_captions}
        self.errors: dict[int, str] = {}
        self.embedded: list[tuple[Sequence[int], np.ndarray]] = []  # indices of pictures, and their vectors

    def prepare(self, index: int, data: bytes) -> tuple[Ready, int]:
        """A picture and its captions made ready; ValueError when it is no picture."""
        loaded = self.loaded
        pixels = upright_pixels(data, loaded.needed)
        clip = loaded.clip
        samples = [sample for sample in self.samples_of[index] if self.captions[sample].strip()] if loaded.of_captions else []
        ready = Ready(
            clip=clip.prepare(pixels) if clip else None,
            inputs={name: scorer.prepare(pixels) for name, scorer in loaded.of_pixels.items()},
            tokens={sample: clip.tokenise(self.captions[sample]) if clip else _nothing(0) for sample in samples},
            image=Image.fromarray(pixels) if loaded.keeps_images else None,
        )
        return ready, ready.nbytes

    def score(self, found: Prepared[Ready]) -> None:
        """Scores a batch."""
        self.errors |= found.errors
        items, indices = found.items, found.indices
        if not items:
            return
        vectors = self._embed(indices, [item.clip for item in items if item.clip is not None])
        for name, scorer in self.loaded.of_pixels.items():
            self.of_picture[name][indices] = self.batches.run(scorer.score, [item.inputs[name] for item in items])
        batch = Batch(lambda: [item.image for item in items if item.image], vectors)
        for name, score in self.loaded.of_pictures.items():
            self.of_picture[name][indices] = score(batch)
        if self.loaded.of_captions:
            self._score_captions(items, vectors)

    def _embed(self, indices: Sequence[int], pixels: Sequence[np.ndarray]) -> np.ndarray | None:
        if self.loaded.clip is None:
            return None
        vectors = self.batches.run(self.loaded.clip.embed_pixels, pixels)
        bad = ~np.isfinite(vectors).all(axis=1)
        self.errors |= {indices[row]: "not_finite" for row in np.flatnonzero(bad).tolist()}
        if self.loaded.embeddings:
            self.embedded.append(([indices[row] for row in np.flatnonzero(~bad).tolist()], vectors[~bad]))
        return vectors

    def _score_captions(self, items: Sequence[Ready], vectors: np.ndarray | None) -> None:
        rows = [(place, sample) for place, item in enumerate(items) for sample in item.tokens]
        for first in range(0, len(rows), self.loaded.batch):
            own = rows[first : first + self.loaded.batch]
            places, samples = [place for place, _ in own], [sample for _, sample in own]
            tokens = [items[place].tokens[sample] for place, sample in own]
            batch = Batch(
                partial(_images, items, places),
                None if vectors is None else vectors[places],
                [self.captions[sample] for sample in samples],
                self.batches.run(self.loaded.clip.embed_tokens, tokens) if self.loaded.clip else None,
            )
            for name, score in self.loaded.of_captions.items():
                self.of_sample[name][samples] = score(batch)

    def table(self, picture_of: Sequence[int]) -> pa.Table:
        """The columns of all samples."""
        shown = np.asarray(picture_of, dtype=np.int64)
        columns = {name: values[shown] for name, values in self.of_picture.items()} | self.of_sample
        table = {name: pa.array(values, pa.float32(), mask=~np.isfinite(values)) for name, values in columns.items()}
        table["error"] = pa.array([self.errors.get(index) for index in picture_of], pa.string())
        return pa.table(table | self._embeddings(picture_of))

    def _embeddings(self, picture_of: Sequence[int]) -> dict[str, pa.Array]:
        """The columns `embedding` and `scale`, NULL for a picture that has none; no columns where there are none at all."""
        order = [index for indices, _ in self.embedded for index in indices]
        if not order:
            return {}
        rows = {index: row for row, index in enumerate(order)}
        shown = pa.array([rows.get(index) for index in picture_of], pa.int64())
        embedding, scale = encoded(np.concatenate([vectors for _, vectors in self.embedded]), self.loaded.embeddings)
        return {"embedding": embedding.take(shown), "scale": scale.take(shown)}


def _nothing(count: int) -> np.ndarray:
    return np.full(count, np.nan, dtype=np.float32)


def _images(items: Sequence[Ready], places: Sequence[int]) -> list[Image.Image]:
    return [image for place in places if (image := items[place].image)]


def footer(provenance: Mapping[str, Any], settings: ScoreSettings, loaded: LoadedScores) -> dict[str, str]:
    """Provenance as the metadata of a family's files: the models with their sha256, how they ran, and the libraries."""
    needed = {"decoded to sides of at least": loaded.needed or "all there are"}
    preprocessing = needed | ({"clip": loaded.clip.preprocessing} if loaded.clip else {})
    about = {"dtype": "bfloat16" if settings.is_half else "float32", "preprocessing": preprocessing, "libraries": _libraries()}
    return {
        "pairmill.score_models": json.dumps(provenance, sort_keys=True),
        "pairmill.score_run": json.dumps(about, sort_keys=True),
    }


def _libraries() -> dict[str, str]:
    """The versions of the libraries that scores depend on, of those that are installed."""
    versions = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
