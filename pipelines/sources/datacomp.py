"""DataComp's CommonPool: alt text of any language; `ingest.datacomp_similarity` picks one of two CLIP similarities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Columns, Source

SIMILARITIES = {"b32": "CLIP ViT-B/32", "l14": "CLIP ViT-L/14"}
NAMES = {
    "url": "url",
    "caption": "text",
    "width": "original_width",
    "height": "original_height",
    "image_hash": "sha256",
}


def _models(columns: Sequence[str], settings: IngestSettings) -> Mapping[str, str]:
    chosen = settings.datacomp_similarity
    return {"clip_similarity": SIMILARITIES[chosen]} if f"clip_{chosen}_similarity_score" in columns else {}


def _columns(raw: pa.Table, settings: IngestSettings) -> Columns:
    names = NAMES | {"clip_similarity": f"clip_{settings.datacomp_similarity}_similarity_score"}
    return {ours: raw[theirs] for ours, theirs in names.items() if theirs in raw.column_names}


SOURCES = [
    Source(
        name="datacomp",
        ordinal=9,
        title="DataComp",
        format="parquet",
        required=frozenset({"url", "text"}),
        convert=_columns,
        models=_models,
    )
]
