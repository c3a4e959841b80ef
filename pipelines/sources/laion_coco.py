"""LAION-COCO: pictures of LAION with captions made by BLIP. The training caption is `top_caption`.

TEXT, the alt text, is kept beside it. `similarity` is that of the alt text, not of the caption, so it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipelines.sources.laion import SCORES
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Columns, Source

PICTURE_SCORES = {theirs: SCORES[theirs] for theirs in ("pwatermark", "punsafe")}


def _models(columns: Sequence[str], settings: IngestSettings) -> Mapping[str, str]:
    return {ours: model for theirs, (ours, model) in PICTURE_SCORES.items() if theirs in columns}


def _columns(raw: pa.Table, settings: IngestSettings) -> Columns:
    names = {"url": "URL", "caption": "top_caption", "alt_text": "TEXT", "width": "WIDTH", "height": "HEIGHT"}
    columns = {ours: raw[theirs] for ours, theirs in names.items() if theirs in raw.column_names}
    columns |= {ours: raw[theirs] for theirs, (ours, _) in PICTURE_SCORES.items() if theirs in raw.column_names}
    return {**columns, "language": pa.repeat("en", len(raw))}


SOURCES = [
    Source(
        name="laion-coco",
        ordinal=3,
        title="LAION-COCO",
        format="parquet",
        required=frozenset({"URL", "top_caption"}),
        convert=_columns,
        models=_models,
    )
]
