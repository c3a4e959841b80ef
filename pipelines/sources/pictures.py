"""Pictures without text, in folders and in tars as SAM's: `ingest pictures FOLDER|TAR…` lists them.

A listing has a row a picture: where it lies. No picture is copied or downloaded; `caption` writes the texts.
"""

from __future__ import annotations

from pipelines.sources.img2dataset import NAME as IMG2DATASET
from pipelines.sources.source import Source

NAME = "pictures"
ADOPTED = frozenset({NAME, IMG2DATASET})  # the sources whose pictures are used where they lie

SOURCES = [
    Source(
        name=NAME,
        ordinal=12,
        title="pictures",
        format="parquet",
        names={"url": "url", "caption": "caption"},
        required=frozenset({"tar", "offset", "length", "stamp"}),
        has_captions=False,
    )
]
