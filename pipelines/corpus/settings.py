"""Settings of `dedup`: the section `[dedup]` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from infra.compat.settings import Location, Section

Kind = Literal["bytes", "pixels", "pair", "url", "semantic"]
KINDS: tuple[Kind, ...] = ("bytes", "pixels", "pair", "url")  # those that need no embeddings


class DedupSettings(Section):
    """What counts as a copy. Distances are Hamming, in bits, over 64-bit perceptual hashes where nothing else is said.

    against              evaluation sets whose pictures are looked for: name → a file of `index-evalset`, or what that reads
    kinds                copies within the corpus that are looked for: `bytes` the same file, `pixels` pictures that look the
                         same, `pair` the same words with pictures that look much the same, `url` the same address,
                         `semantic` pictures that show the same thing, by the embeddings that `score` keeps
    drop                 which of these kinds are dropped
    source_priority      sources whose samples stay before those of others, the first before the second; of one source, and where
                         none are named, the sample with the lowest id stays
    distance             of two pictures of a pair
    pixel_distance       of two pictures that look the same, whatever their words; among 2 billion 3 bits are met by chance by one
                         random picture in 100 000, 6 by one in 50; each bit more costs a fifth to a half more time
    semantic_distance    1 - cosine of the embeddings of two pictures of a cluster; none is published for all models: SemDeDup
                         chooses it by how much is to be left
    eval_pdq_distance    of a picture and one of an evaluation set, over PDQ's 256 bits: 31 is its authors' threshold
    eval_both_distances  of such pictures over 64 bits and over PDQ's 256, both at most so far: with a border, or of half the size
    eval_distance        of such pictures where one has no PDQ, over 64 bits: among 14 million items 6 are met by chance by one
                         picture in 3 000, 8 by one in 50
    eval_hash_agreement  how much of a picture and of one of an evaluation set that a hash matched must agree when they are laid
                         over each other, 0 … 1, where the set keeps looks: else flags that differ in colour alone, coins of a
                         currency and keys of a keyboard are taken for each other; 0: the hash alone decides
    eval_cosine          of the embeddings of a picture and one of an evaluation set that was embedded by the same model, for
                         pictures that no hash matched; none: embeddings are not compared. SSCD's authors give 0.75; of CLIP
                         nobody has published one
    eval_agreement       how much of the structure of a picture and of one of an evaluation set must agree when they are laid over
                         each other, 0 … 1, for pictures that no hash matched: such as are cropped anywhere, or have a caption
                         bar or a logo; none: they are not looked at. Below 0.8 siblings agree too, such as coins of a currency
    eval_quality         PDQ's quality, 0 … 100, below which a picture is too flat to be matched: 50 is its authors' threshold;
                         for `pixels` too
    """

    against: dict[str, Location] = Field(default_factory=dict)
    kinds: tuple[Kind, ...] = KINDS
    drop: tuple[Kind, ...] = ("pair",)
    source_priority: tuple[str, ...] = ()
    distance: int = Field(8, ge=0, le=16)
    pixel_distance: int = Field(3, ge=1, le=6)
    semantic_distance: float = Field(0.05, ge=0, le=1)
    eval_pdq_distance: int = Field(31, ge=0, le=64)
    eval_both_distances: tuple[Annotated[int, Field(ge=0, le=16)], Annotated[int, Field(ge=0, le=128)]] = (8, 64)
    eval_distance: int = Field(6, ge=0, le=16)
    eval_hash_agreement: float = Field(0.75, ge=0, le=1)
    eval_cosine: float | None = Field(None, ge=0, le=1)
    eval_agreement: float | None = Field(None, ge=0.5, le=1)
    eval_quality: int = Field(50, ge=0, le=100)

    @model_validator(mode="after")
    def _drops_what_is_found(self) -> Self:
        if missing := [kind for kind in self.drop if kind not in self.kinds]:
            raise ValueError(f"drop names {', '.join(missing)}, which kinds does not; add it to kinds")
        return self
