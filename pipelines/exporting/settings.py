"""Settings of `export`: the section `[export]` of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from infra.compat.errors import RequestError
from infra.compat.settings import Location, Section
from pipelines.exporting.products import INSTRUCTION, MIX, PRODUCTS, ProductName
from pipelines.exporting.shares import require_whole


class ExportSettings(Section):
    """How kept samples become shards.

    stage              1: what stage 1 keeps; 2: what both stages keep; or what a stage of Mono-InternVL is trained on: concept,
                       semantic, alignment. These set captions and prompts, where the recipe does not. instruction: conversations
                       of other publishers, of which out, name, conversations, pictures and samples_per_shard are asked alone
    conversations      of stage instruction: the meta file of `pairmill instructions`, as InternVL's, or a file of conversations.
                       Of stage alignment: a meta file whose sets say their `kind`; captions in shards, of an export before, too
    shares             kind → its share of an epoch of these; of alignment the paper's: captioning 0.539, detection 0.052,
                       ocr_large 0.32, ocr_small 0.089
    out                where the shards go: a folder or any fsspec URI
    name               the export's name, lower-case letters and digits; "": stage1 or stage2, or the training stage's
    where              a SQL condition on columns of the manifest that samples must meet too, each by itself: "width >= 512"
    weights            source → how often each of its training samples is exported: 2.5 means twice, about half of them a third
                       time; 0.5 about half of them; 1 for sources that are not named. Held-out samples are exported once
    samples_per_shard  at most; all shards of a split have the same number of samples, give or take one
    bytes_per_shard    about so many bytes a shard instead, by the sizes of stored pictures; 0: by samples
    holdout            share of samples that go to the split heldout
    holdout_by         what is drawn for it: a picture, with all its captions, so that none is in both splits; or each sample
    seed               of all draws: order, split, caption
    pictures           stored: as they are, all of one type, as most readers need it; jpg, png or webp: those of another type are
                       encoded anew; mixed: as they are, of any type
    captions           original: as published, repaired where stage 2 repaired them; synthetic; a mixture: one of the two, drawn
                       by sample; both, in one exported sample: captions_per_sample must be 2 or more
    synthetic_share    of a mixture's captions are synthetic
    captions_per_sample  at most: samples of one stored picture and split become one, with all captions in its json, of which the
                       loader draws one; a picture with more captions is exported several times. 1: each caption is a sample
    prompts            language → question, "" for all other languages: each sample's json gets a conversation of this question
                       and its caption, as stage 3 and Mono-InternVL's stages are trained on
    read_memory        bytes of pictures that a worker holds at a time
    """

    stage: Literal[1, 2, "instruction"] | ProductName = 2
    out: Location = ""
    conversations: Location = ""
    shares: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    name: str = ""
    where: str = ""
    weights: dict[str, Annotated[float, Field(ge=0, le=1000)]] = Field(default_factory=dict)
    samples_per_shard: int = Field(5_000, ge=1)
    bytes_per_shard: int = Field(0, ge=0)
    holdout: float = Field(0.0, ge=0, lt=1)
    holdout_by: Literal["picture", "sample"] = "picture"
    seed: int = 0
    pictures: Literal["stored", "jpg", "png", "webp", "mixed"] = "stored"
    captions: Literal["original", "synthetic", "mixture", "both"] = "original"
    synthetic_share: float = Field(0.5, ge=0, le=1)
    captions_per_sample: int = Field(1, ge=1, le=1000)
    prompts: dict[str, str] = Field(default_factory=dict)
    read_memory: int = Field(256 << 20, ge=1 << 20)

    @property
    def filter(self) -> int:
        """The last filter that must keep a sample: 1 or 2."""
        return self.stage if isinstance(self.stage, int) else PRODUCTS[self.stage].filter if self.stage in PRODUCTS else 0

    def of_product(self) -> ExportSettings:
        """The settings with what the training stage sets that `stage` names; themselves where it names a filter."""
        if isinstance(self.stage, int):
            return self
        if self.stage == INSTRUCTION:
            return self if self.name else self.model_copy(update={"name": INSTRUCTION})
        product = PRODUCTS[self.stage]
        of_it: dict[str, Any] = {"name": f"{self.stage}{MIX}" if self.conversations else self.stage, "captions": product.captions}
        of_it |= {"prompts": dict(product.prompts), "shares": dict(product.shares)}
        return self.model_copy(update={name: value for name, value in of_it.items() if name not in self.model_fields_set})

    def require_consistent(self) -> None:
        """RequestError where two settings contradict each other."""
        if self.stage == INSTRUCTION and not self.conversations:
            raise RequestError("export.stage = instruction takes conversations; name their meta file, --conversations")
        if self.conversations:
            self._require_conversations()
        if self.captions == "both" and self.captions_per_sample == 1:
            raise RequestError(
                "export.captions is both, and export.captions_per_sample 1 leaves room for one; set it to 2 or more, "
                "or captions to original, synthetic or mixture"
            )

    def _require_conversations(self) -> None:
        """RequestError where the settings do not fit conversations of others."""
        if self.stage not in (INSTRUCTION, "alignment"):
            raise RequestError(
                "export.conversations is for stage instruction and stage alignment; leave it out, or set export.stage"
            )
        if self.where:
            raise RequestError("export.where is a condition on samples of the manifest, not on conversations; leave it out")
        if self.stage != INSTRUCTION:
            require_whole(self.shares)
