"""The trainer's configuration: one TOML file per experiment, validated. See `configs/` for the published ones and tiny ones."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer_bridge.data.conversations import TRANSLATED, TRANSLATIONS
from trainer_bridge.models.contrastive import ContrastiveConfig
from trainer_bridge.models.internvl import ChatConfig
from trainer_bridge.models.qllama import GenerativeConfig


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

    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(0.1, ge=0)
    warmup: int = Field(ge=0)
    steps: int = Field(ge=1)
    clip_norm: float = Field(1.0, gt=0)


class OneRate(OptimizerConfig):
    """One learning rate for all that is trained."""

    lr: float = Field(gt=0)


class TwoRates(OptimizerConfig):
    """A learning rate for the image side and one for the rest."""

    image_lr: float = Field(gt=0)
    text_lr: float = Field(gt=0)


class RunConfig(Section):
    """How it runs: DeepSpeed's ZeRO stage and precision, samples per forward and process, and when to save."""

    micro_batch: int = Field(ge=1)
    zero: Literal[0, 1, 2, 3] = 1
    precision: Literal["bf16", "fp32"] = "bf16"
    save_every: int = Field(1000, ge=1)


class TrainConfig(Section):
    """What the experiments of all stages have."""

    data: DataConfig
    optimizer: OptimizerConfig
    run: RunConfig


class ContrastiveExperiment(TrainConfig):
    """Stage 1."""

    model: ContrastiveConfig
    optimizer: TwoRates


class GenerativeExperiment(TrainConfig):
    """Stage 2: the sizes of image and text towers come from the stage-1 model it starts from."""

    model: GenerativeConfig
    optimizer: OneRate


class TalkConfig(Section):
    """What is made of captions known in several languages: the share that translate, and into how many languages each does."""

    translated: float = Field(TRANSLATED, ge=0, le=1)
    translations: int = Field(TRANSLATIONS, ge=1)


class ChatExperiment(TrainConfig):
    """Stage 3: the sizes of the image tower come from the stage-1 model it starts from."""

    model: ChatConfig
    talk: TalkConfig = TalkConfig()
    optimizer: OneRate


Experiment = TypeVar("Experiment", bound=TrainConfig)


def load_config(path: str, kind: type[Experiment]) -> Experiment:
    """The experiment in the file; ValueError says what is wrong where, in one line."""
    try:
        return kind.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"--config {path} cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"--config {path} is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"--config {path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
