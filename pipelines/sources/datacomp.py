"""DataComp's CommonPool: alt text of any language; `ingest.datacomp_similarity` picks one of two CLIP similarities."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Names, Source


def _names(columns: Sequence[str], settings: IngestSettings) -> Names:
    return {
        "url": "url",
        "caption": "text",
        "width": "original_width",
        "height": "original_height",
        "clip_similarity": f"clip_{settings.datacomp_similarity}_similarity_score",
        "image_hash": "sha256",
    }


SOURCES = [
    Source(
        name="datacomp",
        ordinal=9,
        title="DataComp",
        format="parquet",
        names=_names,
        usual=("width", "height", "clip_similarity"),
        models={"clip_b32_similarity_score": "CLIP ViT-B/32", "clip_l14_similarity_score": "CLIP ViT-L/14"},
    )
]
