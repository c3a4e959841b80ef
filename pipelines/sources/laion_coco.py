"""LAION-COCO: pictures of LAION with captions made by BLIP. The training caption is `top_caption`.

TEXT, the alt text, is kept beside it. `similarity` is that of the alt text, not of the caption, so it is left out.
"""

from __future__ import annotations

from pipelines.sources.laion import MODELS
from pipelines.sources.source import Source

SOURCES = [
    Source(
        name="laion-coco",
        ordinal=3,
        title="LAION-COCO",
        format="parquet",
        names={
            "url": "URL",
            "caption": "top_caption",
            "alt_text": "TEXT",
            "width": "WIDTH",
            "height": "HEIGHT",
            "watermark": "pwatermark",
            "unsafe": "punsafe",
        },
        usual=("width", "height"),
        language="en",
        models=MODELS,
    )
]
