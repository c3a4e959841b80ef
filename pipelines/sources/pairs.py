"""Pairs: any table with a URL and a caption. `[ingest.columns]` names its columns; those it does not name go by usual names.

[ingest.columns]
url = "image_url"
caption = ["alt", "title"]    # the first that a file has
"""

from __future__ import annotations

from pipelines.sources.source import Names, Source

USUAL_NAMES: Names = {
    "url": ("url", "image_url", "img_url", "imageurl", "image_link", "link", "src", "uri"),
    "caption": ("caption", "text", "alt", "alt_text", "description", "title"),
    "width": ("original_width", "width", "image_width"),
    "height": ("original_height", "height", "image_height"),
    "language": ("language", "lang"),
    "license": ("license",),
}


SOURCES = [
    Source(
        name="pairs",
        ordinal=11,
        title="pairs",
        format="parquet",
        names=USUAL_NAMES,
        is_mapped=True,
        fix='name its columns in the recipe: [ingest.columns] url = "…", caption = "…"',
    )
]
