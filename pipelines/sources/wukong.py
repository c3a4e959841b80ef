"""Wukong: Chinese captions as csv with a header (`wukong_100m_N.csv`): url, caption. No scores, no sizes."""

from __future__ import annotations

import pyarrow as pa

from pipelines.sources.source import Source

SOURCES = [
    Source(
        name="wukong",
        ordinal=5,
        title="Wukong",
        format="csv",
        required=frozenset({"url", "caption"}),
        convert=lambda raw, settings: {
            "url": raw["url"],
            "caption": raw["caption"],
            "language": pa.repeat("zh", len(raw)),
        },
    )
]
