"""Settings of `score`: the section `[score]` of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from infra.compat.errors import RequestError
from infra.compat.settings import Location, Section, first_fault

S = TypeVar("S", bound=Section)
Weights = Literal["clip_checkpoint", "aesthetic_checkpoint", "watermark_checkpoint", "unsafe_checkpoint", "unsafe"]


class ScoreSettings(Section):
    """Which models score the pictures. A model not named does not score; checkpoints are safetensors, by path or URI.

    clip_model  an open_clip model, the .json of one (by a path from the working folder), "onnx": then the checkpoint is a folder
                of trainer_bridge.export_onnx, or "hugging_face": then it is one of transformers (SigLIP, SigLIP 2, CLIP …)
    unsafe_checkpoint  is LAION's detector on CLIP's embedding; without it `unsafe` is OpenNSFW's
    sha256      expected of the weights, by the setting that names them: sha256.clip_checkpoint = "…"; those of others are refused
    dtype       of the forward pass; "" is bfloat16 on a GPU, float32 on a core
    scaled      JPEGs are decoded at the smallest scale of their DCT of which both sides are twice what a model looks at: large
                ones several times as fast, but scores move in the third place (by 0.0026 at most, with the demo's CLIP)
    batch       pictures of a forward pass at most; 0: 64 on a core, 1024 on a GPU. Out of its memory, it is halved
    threads     that read and decode; 0: the cores there are for each GPU, three where the worker has none
    embeddings  keeps CLIP's embeddings of pictures as this type, in the family `embeddings`; "" keeps none
    by_score    settings of scores that have a class of their own for them, as a plugin's: by_score.<score>.<setting>
    gpus        of a worker; 0 runs on a core
    workers     how many hold the models; 0: as many as the cluster's GPUs (or cores) allow
    """

    clip_model: str = ""
    clip_checkpoint: Location = ""
    aesthetic_checkpoint: Location = ""
    watermark_model: str = ""
    watermark_checkpoint: Location = ""
    watermark_class: int = Field(0, ge=0)
    unsafe: bool = True
    unsafe_checkpoint: Location = ""
    sha256: dict[Weights, str] = Field(default_factory=dict)
    dtype: Literal["", "float32", "bfloat16"] = ""
    by_score: dict[str, dict[str, Any]] = Field(default_factory=dict)
    embeddings: Literal["", "float16", "int8"] = ""
    scaled: bool = False
    batch: int = Field(0, ge=0)
    threads: int = Field(0, ge=0)
    chunk: int = Field(10_000, ge=1, le=10_000)
    gpus: float = Field(0.0, ge=0)
    workers: int = Field(0, ge=0)

    def own(self, score: str, kind: type[S], folder: Path | None = None) -> S:
        """The settings below `by_score` of one score, as its class has them, relative paths relative to `folder`.

        RequestError when they are wrong.
        """
        if score in self.by_score and not kind.model_fields:
            raise RequestError(f"score.by_score.{score}: this score has no settings of its own; leave them out")
        try:
            return kind.model_validate(self.by_score.get(score, {}), context={"folder": folder})
        except ValidationError as error:
            raise RequestError(f"score.by_score.{score}: {first_fault(error, kind)}") from None

    def located(self, kinds: Mapping[str, type[Section]], folder: Path | None) -> ScoreSettings:
        """The same settings, the paths below `by_score` relative to `folder`; `kinds` are the classes of scores by name."""
        by_score = {
            score: self.own(score, kinds[score], folder).model_dump(exclude_unset=True) if score in kinds else values
            for score, values in self.by_score.items()
        }
        return self.model_copy(update={"by_score": by_score})

    @property
    def is_half(self) -> bool:
        """Whether models run in bfloat16."""
        return self.dtype == "bfloat16" or (not self.dtype and self.gpus > 0)

    def variant(self) -> dict[str, str]:
        """The part of a model's provenance that says how it was run; nothing for float32 on pictures decoded whole."""
        return ({"dtype": "bfloat16"} if self.is_half else {}) | ({"decode": "scaled"} if self.scaled else {})

    def names_a_model(self) -> bool:
        """Whether a model was chosen; `unsafe` is on by default, so it counts only where it was set."""
        chosen_unsafe = self.unsafe and "unsafe" in self.model_fields_set
        return bool(self.clip_model or self.watermark_model or self.by_score or chosen_unsafe)
