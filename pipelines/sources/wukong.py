"""Wukong: Chinese captions as csv with a header (`wukong_100m_N.csv`): url, caption. No scores, no sizes. Mirrors: parquet."""

from __future__ import annotations

from pipelines.sources.source import Source

SOURCES = [
    Source(
        name="wukong",
        ordinal=5,
        title="Wukong",
        format="csv",
        names={"url": ("url", "image_url"), "caption": ("caption", "text")},
        language="zh",
    )
]
