"""COYO-700M: English alt text, two CLIP similarities of which `ingest.coyo_similarity` picks one, and a perceptual hash."""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Columns, Source

SIMILARITIES = {"vitb32": "CLIP ViT-B/32", "vitl14": "CLIP ViT-L/14"}
SCORES = {
    "watermark_score": ("watermark", "COYO watermark detector"),
    "nsfw_score_opennsfw2": ("unsafe", "OpenNSFW2"),
    "aesthetic_score_laion_v2": ("aesthetic", "LAION-Aesthetics V2"),
}


def _models(columns: Sequence[str], settings: IngestSettings) -> Mapping[str, str]:
    models = {ours: model for theirs, (ours, model) in SCORES.items() if theirs in columns}
    return {"clip_similarity": SIMILARITIES[settings.coyo_similarity], **models}


def _columns(raw: pa.Table, settings: IngestSettings) -> Columns:
    columns = {name: raw[name] for name in ("url", "width", "height") if name in raw.column_names}
    columns |= {ours: raw[theirs] for theirs, (ours, _) in SCORES.items() if theirs in raw.column_names}
    similarity = f"clip_similarity_{settings.coyo_similarity}"
    if similarity in raw.column_names:
        columns["clip_similarity"] = raw[similarity]
    if "image_phash" in raw.column_names:
        columns["image_phash"] = _number(raw["image_phash"])
    language = pa.repeat("en", len(raw))
    return {**columns, "caption": raw["text"], "language": language}


def _number(phash: pa.ChunkedArray) -> pa.Array:
    """16 hexadecimal digits as uint64; NULL for anything else."""
    digits = pc.cast(phash, pa.string())
    sound = pc.fill_null(pc.match_substring_regex(digits, "^[0-9a-fA-F]{16}$"), False)
    filled = pc.if_else(sound, digits, "0" * 16).to_pylist()
    numbers = np.frombuffer(binascii.unhexlify("".join(filled)), dtype=">u8").astype(np.uint64)
    return pc.if_else(sound.combine_chunks(), pa.array(numbers), None)


SOURCES = [
    Source(
        name="coyo",
        ordinal=4,
        title="COYO",
        format="parquet",
        required=frozenset({"url", "text", "width", "height"}),
        convert=_columns,
        models=_models,
    )
]
