"""Conceptual Captions: tsv without a header. CC3M writes caption ⇥ url, CC12M url ⇥ caption; quotes and further tabs are text."""

from __future__ import annotations

import pyarrow as pa

from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Columns, Source


def _columns(raw: pa.Table, settings: IngestSettings) -> Columns:
    english = pa.repeat("en", len(raw))
    return {"url": raw["url"], "caption": raw["caption"], "language": english}


SOURCES = [
    Source(
        name=name,
        ordinal=ordinal,
        title=name.upper(),
        format="tsv",
        required=frozenset({"url", "caption"}),
        convert=_columns,
        columns=columns,
    )
    for name, ordinal, columns in (("cc3m", 6, ("caption", "url")), ("cc12m", 7, ("url", "caption")))
]
