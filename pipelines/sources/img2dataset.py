"""The output of img2dataset: NNNNN.parquet beside NNNNN.tar, or beside a folder NNNNN of files.

Its pictures count as fetched; none is downloaded again. Columns of LAION that were passed through are read as LAION's; width and
height are those of the original picture.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.sources.laion import MODELS, SCORE_NAMES
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Names, Source

NAME = "img2dataset"


def _names(columns: Sequence[str], settings: IngestSettings) -> Names:
    # `width` and `height` in lower case are those of the resized image.
    sizes = {ours: (f"original_{ours}", *{ours.upper()}.intersection(columns)) for ours in ("width", "height")}
    return {
        "url": "url",
        "caption": ("caption", "TEXT"),
        **sizes,
        "language": "LANGUAGE",
        "license": "LICENSE",
        **SCORE_NAMES,
    }


SOURCES = [
    Source(
        name=NAME,
        ordinal=10,
        title="img2dataset",
        format="parquet",
        names=_names,
        required=frozenset({"key", "status"}),
        models=MODELS,
    )
]
