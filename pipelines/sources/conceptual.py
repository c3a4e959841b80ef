"""Conceptual Captions: tsv without a header. CC3M writes caption ⇥ url, CC12M url ⇥ caption; quotes and further tabs are text.

Mirrors publish them as parquet with `image_url` and `caption`.
"""

from __future__ import annotations

from pipelines.sources.source import Source

SOURCES = [
    Source(
        name=name,
        ordinal=ordinal,
        title=name.upper(),
        format="tsv",
        names={"url": ("url", "image_url"), "caption": ("caption", "text")},
        language="en",
        columns=columns,
    )
    for name, ordinal, columns in (("cc3m", 6, ("caption", "url")), ("cc12m", 7, ("url", "caption")))
]
