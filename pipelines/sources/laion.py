"""LAION-2B, English and multilingual, in the variants in circulation.

original   SAMPLE_ID, URL, TEXT, HEIGHT, WIDTH, LICENSE, NSFW, similarity, [LANGUAGE]; WIDTH and HEIGHT are swapped in it
joined     URL, TEXT, WIDTH, HEIGHT, similarity, [LANGUAGE], hash, pwatermark, punsafe; sizes not swapped, scores may be NULL
aesthetic  joined with `aesthetic` (v1) or `AESTHETIC_SCORE` (v2)

The columns tell the variant. similarity is the cosine of ViT-B/32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Columns, Source

SCORES = {
    "similarity": ("clip_similarity", "CLIP ViT-B/32"),
    "pwatermark": ("watermark", "LAION-5B watermark detector"),
    "punsafe": ("unsafe", "LAION CLIP-based NSFW detector"),
    "aesthetic": ("aesthetic", "LAION-Aesthetics V1"),
    "AESTHETIC_SCORE": ("aesthetic", "LAION-Aesthetics V2"),
}


def _models(columns: Sequence[str], settings: IngestSettings) -> Mapping[str, str]:
    return {ours: model for theirs, (ours, model) in SCORES.items() if theirs in columns}


def _columns(raw: pa.Table, language: str | None) -> Columns:
    names = set(raw.column_names)
    # The original release wrote heights under WIDTH and widths under HEIGHT; only it has SAMPLE_ID.
    width, height = ("HEIGHT", "WIDTH") if "SAMPLE_ID" in names else ("WIDTH", "HEIGHT")
    columns = {"url": raw["URL"], "caption": raw["TEXT"], "width": raw[width], "height": raw[height]}
    if language is not None:
        columns["language"] = pa.repeat(language, len(raw))
    elif "LANGUAGE" in names:
        columns["language"] = raw["LANGUAGE"]
    if "LICENSE" in names:
        columns["license"] = raw["LICENSE"]
    return columns | {ours: raw[theirs] for theirs, (ours, _) in SCORES.items() if theirs in names}


SOURCES = [
    Source(
        name="laion2b-en",
        ordinal=1,
        title="LAION-en",
        format="parquet",
        required=frozenset({"URL", "TEXT", "WIDTH", "HEIGHT"}),
        convert=lambda raw, settings: _columns(raw, "en"),
        models=_models,
    ),
    Source(
        name="laion2b-multi",
        ordinal=2,
        title="LAION-multi",
        format="parquet",
        required=frozenset({"URL", "TEXT", "WIDTH", "HEIGHT", "LANGUAGE"}),
        convert=lambda raw, settings: _columns(raw, None),
        models=_models,
    ),
]
