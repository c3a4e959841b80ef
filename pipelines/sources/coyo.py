"""COYO-700M: English alt text, two CLIP similarities of which `ingest.coyo_similarity` picks one, and a perceptual hash."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Names, Source

MODELS = {
    "clip_similarity_vitb32": "CLIP ViT-B/32",
    "clip_similarity_vitl14": "CLIP ViT-L/14",
    "watermark_score": "COYO watermark detector",
    "nsfw_score_opennsfw2": "OpenNSFW2",
    "aesthetic_score_laion_v2": "LAION-Aesthetics V2",
}


def _names(columns: Sequence[str], settings: IngestSettings) -> Names:
    return {
        "url": "url",
        "caption": "text",
        "width": "width",
        "height": "height",
        "clip_similarity": f"clip_similarity_{settings.coyo_similarity}",
        "watermark": "watermark_score",
        "unsafe": "nsfw_score_opennsfw2",
        "aesthetic": "aesthetic_score_laion_v2",
        "image_phash": "image_phash",
    }


SOURCES = [
    Source(
        name="coyo",
        ordinal=4,
        title="COYO",
        format="parquet",
        names=_names,
        usual=("width", "height", "clip_similarity", "watermark", "unsafe"),
        language="en",
        models=MODELS,
    )
]
