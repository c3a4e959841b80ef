"""Settings of `ingest`: the section `[ingest]` of a recipe, and its `[[sources]]`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from infra.compat.settings import Location, Section


class IngestSettings(Section):
    """How published metadata become samples."""

    part_rows: int = Field(1_000_000, ge=1, le=10_000_000)
    coyo_similarity: Literal["vitb32", "vitl14"] = "vitb32"
    datacomp_similarity: Literal["b32", "l14"] = "b32"


class SourceSettings(Section):
    """One of `[[sources]]`: the published files of a corpus, and the tag tables to join.

    name       laion2b-en, coyo, …
    files      paths, URIs or patterns
    join_tags  published tables of hash and pwatermark, punsafe or aesthetic, joined by LAION's hash
    """

    name: str
    files: tuple[Location, ...] = Field(min_length=1)
    join_tags: tuple[Location, ...] = ()
