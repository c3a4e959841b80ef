"""COYO-700M: English alt text, with two CLIP similarities, of which `ingest.coyo_similarity` picks one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipelines.recipe import IngestSettings
from pipelines.sources.source import Columns, Source

SIMILARITIES = {"vitb32": "CLIP ViT-B/32", "vitl14": "CLIP ViT-L/14"}
SCORES = {
    "watermark_score": ("watermark", "COYO watermark detector"),
    "nsfw_score_opennsfw2": ("unsafe", "OpenNSFW2"),
    "aesthetic_score_laion_v2": ("aesthetic", "LAION-Aesthetics V2"),
}


def _models(columns: Sequence[str], settings: IngestSettings) -> Mapping[str, str]:
    models = {ours: model for theirs, (ours, model) in SCORES.items() if theirs in columns}
    return {"clip_similarity": SIMILARITIES[settings.coyo_similarity], **models}


def _columns(raw: pa.Table, settings: IngestSettings) -> Columns:
    found = {name: raw[name] for name in ("url", "width", "height") if name in raw.column_names}
    found |= {ours: raw[theirs] for theirs, (ours, _) in SCORES.items() if theirs in raw.column_names}
    similarity = f"clip_similarity_{settings.coyo_similarity}"
    if similarity in raw.column_names:
        found["clip_similarity"] = raw[similarity]
    language = pa.repeat("en", len(raw))
    return {**found, "caption": raw["text"], "language": language}


SOURCES = [
    Source(
        name="coyo",
        ordinal=4,
        title="COYO",
        format="parquet",
        required=frozenset({"url", "text", "width", "height"}),
        convert=_columns,
        models=_models,
    )
]
