"""SBU Captions: one JSON object of parallel arrays: image_urls, captions, and others that are ignored.

Mirrors publish them as parquet with `image_url` and `caption`.
"""

from __future__ import annotations

from pipelines.sources.source import Source

SOURCES = [
    Source(
        name="sbu",
        ordinal=8,
        title="SBU",
        format="json",
        names={"url": ("image_urls", "image_url", "url"), "caption": ("captions", "caption", "text")},
        language="en",
    )
]
