"""Settings of `ingest`: the section `[ingest]` of a recipe, and its `[[sources]]`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from infra.compat.errors import nearest
from infra.compat.settings import Location, Section
from pipelines.sources.published import PUBLISHED


class IngestSettings(Section):
    """How published metadata become samples.

    columns  of the source `pairs`: our column → the table's, or several of which the first that a file has is read
    """

    part_rows: int = Field(1_000_000, ge=1, le=10_000_000)
    coyo_similarity: Literal["vitb32", "vitl14"] = "vitb32"
    datacomp_similarity: Literal["b32", "l14"] = "b32"
    columns: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)

    @field_validator("columns")
    @classmethod
    def _are_ours(cls, columns: dict[str, str | tuple[str, ...]]) -> dict[str, str | tuple[str, ...]]:
        for name in columns:
            if name not in PUBLISHED:
                raise ValueError(f"{name} is no published column; {nearest(name, PUBLISHED)}")
        return columns


class SourceSettings(Section):
    """One of `[[sources]]`: the published files of a corpus, and the tag tables to join.

    name       laion2b-en, coyo, …
    files      paths, URIs or patterns
    join_tags  published tables of hash and pwatermark, punsafe or aesthetic, joined by LAION's hash
    """

    name: str
    files: tuple[Location, ...] = Field(min_length=1)
    join_tags: tuple[Location, ...] = ()
