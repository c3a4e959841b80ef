"""Pairs: any table with a URL and a caption. `[ingest.columns]` names its columns; those it does not name go by usual names.

[ingest.columns]
url = "image_url"
caption = ["alt", "title"]    # the first that a file has
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infra.compat.errors import RequestError
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Names, Source, first_column

USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "url": ("url", "image_url", "img_url", "imageurl", "image_link", "link", "src", "uri"),
    "caption": ("caption", "text", "alt", "alt_text", "description", "title"),
    "width": ("original_width", "width", "image_width"),
    "height": ("original_height", "height", "image_height"),
    "language": ("language", "lang"),
    "license": ("license",),
}


def _names(columns: Sequence[str], settings: IngestSettings) -> Names:
    for ours, theirs in settings.columns.items():
        if columns and first_column(theirs, columns) is None:
            raise RequestError(f"ingest.columns.{ours} is {theirs!r}, but a file has {', '.join(columns)}; name one of these")
    return {**USUAL_NAMES, **settings.columns}


SOURCES = [
    Source(
        name="pairs",
        ordinal=11,
        title="pairs",
        format="parquet",
        names=_names,
        fix='name its columns in the recipe: [ingest.columns] url = "…", caption = "…"',
    )
]
