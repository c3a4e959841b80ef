"""The trainer's configuration: one TOML file per experiment, validated. See `configs/` for the published one and a tiny one."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer_bridge.models.contrastive import ContrastiveConfig


class Section(BaseModel):
    """A section of the file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Section):
    """What a batch is. `batch` is global, in samples; `drop_tokens` the share of image tokens left out."""

    batch: int = Field(ge=1)
    drop_tokens: float = Field(0.0, ge=0, lt=1)
    least_area: float = Field(0.4, gt=0, le=1)
    seed: int = 0
    tokenizer: str = ""


class OptimizerConfig(Section):
    """AdamW with a cosine schedule after a linear warm-up; steps count optimizer updates."""

    image_lr: float = Field(gt=0)
    text_lr: float = Field(gt=0)
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(0.1, ge=0)
    warmup: int = Field(ge=0)
    steps: int = Field(ge=1)
    clip_norm: float = Field(1.0, gt=0)


class RunConfig(Section):
    """How it runs: DeepSpeed's ZeRO stage and precision, samples per forward and process, and when to save."""

    micro_batch: int = Field(ge=1)
    zero: Literal[0, 1, 2, 3] = 1
    precision: Literal["bf16", "fp32"] = "bf16"
    save_every: int = Field(1000, ge=1)


class TrainConfig(Section):
    """A whole experiment."""

    model: ContrastiveConfig
    data: DataConfig
    optimizer: OptimizerConfig
    run: RunConfig


def load_config(path: str) -> TrainConfig:
    """The experiment in the file; ValueError says what is wrong where, in one line."""
    try:
        return TrainConfig.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"--config {path} cannot be read ({error.strerror})") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"--config {path} is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"--config {path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
