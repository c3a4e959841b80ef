"""The settings that experiments of every stage have, and how an experiment's TOML file is read.

What is particular to a stage stands beside its Stage; published and tiny experiments are in `configs/`.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from infra.compat.errors import RequestError
from infra.compat.settings import Section, first_fault, read_toml
from trainer_bridge.data.settings import LoaderSettings
from trainer_bridge.evaluation.settings import EvaluationSettings
from trainer_bridge.schedule import Phase


class DataSettings(LoaderSettings):
    """What a batch holds, and how it is loaded.

    batch        global batch in samples: losses are over all of them, however they are divided
    drop_tokens  share of image tokens left out of the image tower
    least_area   least share of the image that a random crop covers
    tokenizer    a tokenizer.json; empty: one is trained on the captions
    """

    batch: int = Field(ge=1)
    drop_tokens: float = Field(0.0, ge=0, lt=1)
    least_area: float = Field(0.4, gt=0, le=1)
    seed: int = 0
    tokenizer: str = ""


class OptimizerSettings(Section):
    """AdamW with a schedule after a linear warm-up; `warmup` and `steps` count optimizer updates.

    schedule       cosine: half a cosine down to 0; constant: the peak rate to the end
    weight_decay   of matrices and kernels; not of biases, norms, scales, tokens and position embeddings
    clip_norm      the norm that the gradient of all parameters is clipped to
    rates          peak learning rates of parts of the model, by the names of their modules: {image_pool = 1e-3}
    layer_decay    factor of the learning rate from a block of a tower to the one below it
    ema            decay of the moving average of the weights, which is then the model that is saved, as 0.9999; 0: none
    max_bad_steps  steps in a row that are skipped, as their loss or gradient is not finite, before training ends
    """

    schedule: Literal["cosine", "constant"] = "cosine"
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(0.1, ge=0)
    warmup: int = Field(ge=0)
    steps: int = Field(ge=1)
    clip_norm: float = Field(1.0, gt=0)
    rates: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    layer_decay: float = Field(1.0, gt=0, le=1)
    ema: float = Field(0.0, ge=0, lt=1)
    max_bad_steps: int = Field(10, ge=1)


class OneRate(OptimizerSettings):
    """One peak learning rate for all trained parameters."""

    lr: float = Field(gt=0)


class RunSettings(Section):
    """How the experiment runs.

    micro_batch               samples per forward on each rank
    zero                      DeepSpeed's ZeRO stage
    precision                 bf16: matrix products in bf16 (torch.autocast); weights, their updates, features and logit scale in
                              float32
    activation_checkpointing  what each transformer block keeps for its backward pass. none: all that it needs; selective: results
                              of matrix products and attention, the rest is computed again; blocks: its input alone
    compile                   torch.compile of each transformer block: a minute at the start, and faster steps on a GPU
    save_every                optimizer steps between two saved states
    keep                      saved states that are kept, the newest
    evaluate_every            optimizer steps between two evaluations; 0: only at the end
    sample_every              optimizer steps between two answers to questions of the conversations trained on; 0: none
    """

    micro_batch: int = Field(ge=1)
    zero: Literal[0, 1, 2, 3] = 1
    precision: Literal["bf16", "fp32"] = "bf16"
    activation_checkpointing: Literal["none", "selective", "blocks"] = "none"
    compile: bool = False
    save_every: int = Field(1000, ge=1)
    keep: int = Field(2, ge=1)
    evaluate_every: int = Field(0, ge=0)
    sample_every: int = Field(0, ge=0)


class LogSettings(Section):
    """What is written of a run besides metrics.jsonl.

    every        steps between two lines on stderr
    window       steps over which rates are taken
    tensorboard  event files in DIR/tensorboard
    wandb        the project of Weights & Biases that gets the run; empty: none
    """

    every: int = Field(10, ge=1)
    window: int = Field(20, ge=1)
    tensorboard: bool = False
    wandb: str = ""


class Experiment(Section):
    """The sections of every experiment; a stage's own adds `model`, and the learning rates of `optimizer`."""

    data: DataSettings
    optimizer: OptimizerSettings
    run: RunSettings
    evaluation: tuple[EvaluationSettings, ...] = ()
    log: LogSettings = LogSettings()

    def phases(self) -> list[Phase]:
        """The phases of the training, in order: one."""
        return [Phase(0, self.optimizer.steps, 0, self.data.batch, self.run.micro_batch, drop_tokens=self.data.drop_tokens)]


AnyExperiment = TypeVar("AnyExperiment", bound=Experiment)


def load_experiment(path: str, kind: type[AnyExperiment]) -> AnyExperiment:
    """The experiment in a TOML file; RequestError names the setting that is wrong, and the nearest that exists."""
    document = read_toml(path, "--config")
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise RequestError(f"--config {path}: {first_fault(error, kind)}") from None
