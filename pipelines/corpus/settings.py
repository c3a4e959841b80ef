"""Settings of `dedup`: the section `[dedup]` of a recipe."""

from __future__ import annotations

from pydantic import Field

from infra.compat.settings import Location, Section


class DedupSettings(Section):
    """What counts as a copy. Distances are Hamming, over 64-bit perceptual hashes.

    against           evaluation sets whose pictures are looked for: name → a folder or pattern of pictures, or
                      shards that have an index (of `export`, `reshard` or `index`)
    distance          of two pictures with the same words
    eval_distance     of a picture and one of an evaluation set
    eval_pixel_error  mean absolute difference of their thumbnails, 0 … 1, up to which that is confirmed
    buckets           ranges of caption hashes that are searched one by one
    """

    against: dict[str, Location] = Field(default_factory=dict)
    distance: int = Field(8, ge=0, le=16)
    eval_distance: int = Field(12, ge=0, le=16)
    eval_pixel_error: float = Field(0.03, ge=0, le=1)
    buckets: int = Field(16, ge=1)
