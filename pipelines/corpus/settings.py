"""Settings of `dedup`: the section `[dedup]` of a recipe."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from infra.compat.settings import Location, Section


class DedupSettings(Section):
    """What counts as a copy. Distances are Hamming, in bits, over 64-bit perceptual hashes where nothing else is said.

    against              evaluation sets whose pictures are looked for: name → a file of `index-evalset`, or what that reads
    distance             of two pictures with the same words
    eval_pdq_distance    of a picture and one of an evaluation set, over PDQ's 256 bits: 31 is its authors' threshold
    eval_both_distances  of such pictures over 64 bits and over PDQ's 256, both at most so far: with a border, or of half the size
    eval_distance        of such pictures where one has no PDQ, over 64 bits: among 14 million items 6 are met by chance by one
                         picture in 3 000, 8 by one in 50
    eval_quality         PDQ's quality, 0 … 100, below which a picture is too flat to be matched: 50 is its authors' threshold
    buckets              ranges of caption hashes that are searched one by one
    """

    against: dict[str, Location] = Field(default_factory=dict)
    distance: int = Field(8, ge=0, le=16)
    eval_pdq_distance: int = Field(31, ge=0, le=64)
    eval_both_distances: tuple[Annotated[int, Field(ge=0, le=16)], Annotated[int, Field(ge=0, le=128)]] = (8, 64)
    eval_distance: int = Field(6, ge=0, le=16)
    eval_quality: int = Field(50, ge=0, le=100)
    buckets: int = Field(16, ge=1)
