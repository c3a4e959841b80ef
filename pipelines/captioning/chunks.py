"""Captions a chunk of pictures: the next are read and decoded while the model works."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from pipelines.captioning.internvl import Caption, load_captioner
from pipelines.captioning.settings import CaptionSettings
from pipelines.images.chunks import Place, decoded
from pipelines.manifest.storage import Storage

UNREADABLE = Caption(None, 0, "unreadable")


def caption_chunk(
    storage: Storage,
    places: Sequence[Place],
    rows: Sequence[int],
    model: str,
    questions: Sequence[str],
    settings: CaptionSettings,
    finished: Callable[[int, int], None],
) -> pa.Table:
    """synthetic_caption, tokens and finish_reason of samples: sample i shows picture `places[rows[i]]`; a row per sample, in
    order.

    A picture that cannot be decoded has no caption and says so. `finished(first, last)` is called as pictures first … last - 1
    end.
    """
    import torch

    captioner = load_captioner(model, settings.model_dump_json())
    torch.manual_seed(settings.seed)
    captions = [UNREADABLE] * len(places)
    for batch, (indices, pictures) in enumerate(decoded(storage, places, settings.batch)):
        if pictures:
            for index, caption in zip(indices, captioner.describe(pictures, questions), strict=True):
                captions[index] = caption
        finished(batch * settings.batch, (batch + 1) * settings.batch)
    said = [captions[row] for row in rows]
    return pa.table(
        {
            "synthetic_caption": pa.array([caption.text for caption in said], pa.string()),
            "tokens": pa.array([caption.tokens for caption in said], pa.int32()),
            "finish_reason": pa.array([caption.finish for caption in said], pa.string()),
        }
    )
