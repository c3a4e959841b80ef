"""SBU Captions: one JSON object of parallel arrays: image_urls, captions, and others that are ignored."""

from __future__ import annotations

import pyarrow as pa

from pipelines.sources.source import Source

SOURCES = [
    Source(
        name="sbu",
        ordinal=8,
        title="SBU",
        format="json",
        required=frozenset({"image_urls", "captions"}),
        convert=lambda raw, settings: {
            "url": raw["image_urls"],
            "caption": raw["captions"],
            "language": pa.repeat("en", len(raw)),
        },
    )
]
