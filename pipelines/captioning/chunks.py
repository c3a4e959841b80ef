"""Captions a chunk of pictures: the next are read and decoded while the model works."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import pyarrow as pa

from pipelines.captioning import captioner_named
from pipelines.captioning.captioner import Caption, Describe
from pipelines.captioning.settings import CaptionSettings
from pipelines.manifest.pictures import LOST, StoredPicture
from pipelines.manifest.storage import Storage
from pipelines.runtime.picture_chunks import Finished, decode_ahead

UNREADABLE = Caption(None, 0, "unreadable")


@lru_cache(1)
def load_captioner(model: str, settings_json: str) -> Describe:
    """Loads the model once per worker process."""
    settings = CaptionSettings.model_validate_json(settings_json)
    return captioner_named(settings.captioner).load(model, settings)


def caption_chunk(
    storage: Storage,
    pictures: Sequence[StoredPicture],
    picture_of: Sequence[int],
    describe: Describe,
    questions: Sequence[str],
    settings: CaptionSettings,
    finished: Finished,
) -> pa.Table:
    """synthetic_caption, tokens and finish_reason of samples, a row each, in order: sample i shows `pictures[picture_of[i]]`.

    A picture that cannot be decoded has no caption, and the finish_reason "unreadable"; one that is not where it was fetched to
    "missing" or "changed". `finished(first, last)` is called as pictures first … last - 1 end.
    """
    import torch

    torch.manual_seed(settings.seed)
    captions = [UNREADABLE] * len(pictures)
    for found in decode_ahead(storage, pictures, settings.batch):
        for index, error in found.errors.items():
            captions[index] = Caption(None, 0, error) if error in LOST else UNREADABLE
        if found.images:
            for index, caption in zip(found.indices, describe(found.images, questions), strict=True):
                captions[index] = caption
        finished(found.first, found.last)
    by_sample = [captions[index] for index in picture_of]
    return pa.table(
        {
            "synthetic_caption": pa.array([caption.text for caption in by_sample], pa.string()),
            "tokens": pa.array([caption.tokens for caption in by_sample], pa.int32()),
            "finish_reason": pa.array([caption.finish for caption in by_sample], pa.string()),
        }
    )
