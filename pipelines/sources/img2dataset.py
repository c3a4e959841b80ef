"""The output of img2dataset: NNNNN.parquet beside NNNNN.tar, or beside a folder NNNNN of files.

Its pictures count as fetched; none is downloaded again. Columns of LAION that were passed through are read as LAION's; width and
height are those of the original picture.
"""

from __future__ import annotations

from pipelines.sources.laion import MODELS, SCORE_NAMES
from pipelines.sources.source import Source

NAME = "img2dataset"

SOURCES = [
    Source(
        name=NAME,
        ordinal=10,
        title="img2dataset",
        format="parquet",
        names={
            "url": "url",
            "caption": ("caption", "TEXT"),
            "width": ("original_width", "WIDTH"),
            "height": ("original_height", "HEIGHT"),
            "language": "LANGUAGE",
            "license": "LICENSE",
            **SCORE_NAMES,
        },
        required=frozenset({"key", "status"}),
        models=MODELS,
    )
]
