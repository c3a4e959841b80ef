"""Settings of `export`: the section `[export]` of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from infra.compat.settings import Location, Section


class ExportSettings(Section):
    """How kept samples become shards.

    stage            1: what stage 1 keeps; 2: what both stages keep
    out              where the shards go: a folder or any fsspec URI
    name             the export's name, lower-case letters and digits; "": stage1 or stage2
    pictures         stored: as they are, all of one type, as most readers need it; jpg, png or webp: those of another type are
                     encoded anew; mixed: as they are, of any type
    captions         original: as published, repaired where stage 2 repaired them; synthetic; a mixture of both
    synthetic_share  of a mixture's captions are synthetic, drawn by sample
    """

    stage: Literal[1, 2] = 2
    out: Location = ""
    name: str = ""
    samples_per_shard: int = Field(5_000, ge=1)
    holdout: float = Field(0.0, ge=0, lt=1)
    seed: int = 0
    pictures: Literal["stored", "jpg", "png", "webp", "mixed"] = "stored"
    captions: Literal["original", "synthetic", "mixture"] = "original"
    synthetic_share: float = Field(0.5, ge=0, le=1)
