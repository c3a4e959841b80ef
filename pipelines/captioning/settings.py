"""Settings of `caption`: the section `[caption]` of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from infra.compat.settings import Section, located

Question = Annotated[str, Field(min_length=1)]
Questions = Annotated[
    tuple[Question, ...], Field(min_length=1), BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class CaptionSettings(Section):
    """How a model describes pictures.

    captioner      the kind of model that --model names
    model          an InternVL folder in the Hugging Face layout, by path or URI, or what another captioner takes
    prompt         the question asked of every picture; of several, asked one after the other, the answer to the last is the
                   caption. by_source has the prompts of sources that have their own
    sources        caption these sources only; empty: all
    max_tokens     of a caption
    temperature    0 is greedy: the same picture gives the same caption
    gpus           of a worker; 0 runs on a core
    workers        how many hold the model; 0: as many as the cluster's GPUs (or cores) allow
    """

    captioner: str = "internvl"
    model: str = ""
    prompt: Questions = ("Describe the picture in one sentence.",)
    by_source: dict[str, Questions] = Field(default_factory=dict)
    sources: tuple[str, ...] = ()
    max_tokens: int = Field(64, ge=1)
    temperature: float = Field(0.0, ge=0)
    seed: int = 0
    tiles: int = Field(1, ge=1)
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    batch: int = Field(32, ge=1)
    chunk: int = Field(10_000, ge=1, le=10_000)
    gpus: float = Field(1.0, ge=0)
    workers: int = Field(0, ge=0)

    @field_validator("model")
    @classmethod
    def _located(cls, model: str, info: ValidationInfo) -> str:
        return located(model, info) if info.data.get("captioner") == "internvl" else model  # another's need not be a path

    def prompt_for(self, source: str) -> tuple[str, ...]:
        """The questions asked of a picture of this source."""
        return self.by_source.get(source, self.prompt)

    def result_settings(self) -> dict[str, Any]:
        """The settings that change a caption: changing them needs --redo."""
        return self.model_dump(include={"max_tokens", "temperature", "seed", "tiles", "precision"})
