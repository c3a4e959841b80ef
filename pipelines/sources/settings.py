"""Settings of `ingest`: the section `[ingest]` of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from infra.compat.settings import Section


class IngestSettings(Section):
    """How published metadata become samples."""

    part_rows: int = Field(1_000_000, ge=1, le=10_000_000)
    coyo_similarity: Literal["vitb32", "vitl14"] = "vitb32"
    datacomp_similarity: Literal["b32", "l14"] = "b32"
