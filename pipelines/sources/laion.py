"""LAION-2B, English and multilingual, in the variants in circulation.

original   SAMPLE_ID, URL, TEXT, HEIGHT, WIDTH, LICENSE, NSFW, similarity, [LANGUAGE]; WIDTH and HEIGHT are swapped in it
joined     URL, TEXT, WIDTH, HEIGHT, similarity, [LANGUAGE], hash, pwatermark, punsafe; sizes not swapped, scores may be NULL
aesthetic  joined with `aesthetic` (v1) or `AESTHETIC_SCORE` (v2)
re-LAION   url, caption, similarity, hash, punsafe, pwatermark, in lower case, some with width and height

The columns tell the variant. similarity is the cosine of ViT-B/32. A file may hold URL and TEXT alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Names, Source, first_column

SCORES = {
    "similarity": ("clip_similarity", "CLIP ViT-B/32"),
    "pwatermark": ("watermark", "LAION-5B watermark detector"),
    "punsafe": ("unsafe", "LAION CLIP-based NSFW detector"),
    "aesthetic": ("aesthetic", "LAION-Aesthetics V1"),
    "AESTHETIC_SCORE": ("aesthetic", "LAION-Aesthetics V2"),
}
MODELS = {theirs: model for theirs, (_, model) in SCORES.items()}
SCORE_NAMES: Names = {
    "clip_similarity": "similarity",
    "watermark": "pwatermark",
    "unsafe": "punsafe",
    "aesthetic": ("AESTHETIC_SCORE", "aesthetic"),
}
USUAL = ("width", "height", "clip_similarity")


def _names(columns: Sequence[str], settings: IngestSettings) -> Names:
    # The original release wrote heights under WIDTH and widths under HEIGHT; only it has SAMPLE_ID.
    width, height = ("HEIGHT", "WIDTH") if first_column("SAMPLE_ID", columns) else ("WIDTH", "HEIGHT")
    sizes = {"width": width, "height": height}
    return {"url": "URL", "caption": ("TEXT", "caption"), **sizes, "language": "LANGUAGE", "license": "LICENSE", **SCORE_NAMES}


SOURCES = [
    Source(
        name="laion2b-en",
        ordinal=1,
        title="LAION-en",
        format="parquet",
        names=_names,
        usual=USUAL,
        language="en",
        models=MODELS,
    ),
    Source(
        name="laion2b-multi",
        ordinal=2,
        title="LAION-multi",
        format="parquet",
        names=_names,
        usual=("language", *USUAL),
        models=MODELS,
    ),
]
