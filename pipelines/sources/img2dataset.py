"""The output of img2dataset: NNNNN.parquet beside NNNNN.tar. Its pictures count as fetched; none is downloaded again.

Columns of LAION that were passed through are read as LAION's; width and height are those of the original picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipelines.sources.laion import SCORES
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Columns, Source

NAME = "img2dataset"
# our column → theirs, the first that exists
NAMES = {
    "caption": ("caption", "TEXT"),
    "width": ("original_width", "WIDTH"),
    "height": ("original_height", "HEIGHT"),
    "language": ("LANGUAGE",),
    "license": ("LICENSE",),
}


def _models(columns: Sequence[str], settings: IngestSettings) -> Mapping[str, str]:
    return {ours: model for theirs, (ours, model) in SCORES.items() if theirs in columns}


def _columns(raw: pa.Table, settings: IngestSettings) -> Columns:
    names = set(raw.column_names)
    chosen = {ours: next((name for name in theirs if name in names), None) for ours, theirs in NAMES.items()}
    columns = {ours: raw[name] for ours, name in chosen.items() if name is not None}
    return {"url": raw["url"], **columns} | {ours: raw[theirs] for theirs, (ours, _) in SCORES.items() if theirs in names}


SOURCES = [
    Source(
        name=NAME,
        ordinal=10,
        title="img2dataset",
        format="parquet",
        required=frozenset({"url", "key", "status"}),
        convert=_columns,
        models=_models,
    )
]
