"""Settings of `export`: the section `[export]` of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from infra.compat.settings import Section


class ExportSettings(Section):
    """How kept samples become shards. `synthetic_share` of a mixture's captions are synthetic, drawn by sample."""

    samples_per_shard: int = Field(5_000, ge=1)
    holdout: float = Field(0.0, ge=0, lt=1)
    seed: int = 0
    captions: Literal["original", "synthetic", "mixture"] = "original"
    synthetic_share: float = Field(0.5, ge=0, le=1)
