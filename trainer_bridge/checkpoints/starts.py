"""What stages 1 and 2 start from: towers of other models, or a model that was trained before."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from tokenizers import Tokenizer
from torch import Tensor

from infra.compat.settings import Section
from trainer_bridge.checkpoints.building import Start
from trainer_bridge.checkpoints.checkpoint import IMAGE, TEXT, Checkpoint
from trainer_bridge.checkpoints.layouts import read_checkpoint
from trainer_bridge.checkpoints.model_folders import contrastive_start, generative_start, require_whole
from trainer_bridge.models.contrastive import ContrastiveConfig, ContrastiveModel
from trainer_bridge.models.internvit import InternViTConfig, resize_positions
from trainer_bridge.models.qllama import GenerativeConfig, GenerativeModel
from trainer_bridge.models.text_tower import TextConfig

# Settings that no tensor's shape and no learned function hang on: an experiment may set them as it likes.
FREE = {"image_size", "drop_path", "drop_path_schedule", "layer_scale", "length", "prefix"}
POSITIONS = "image_tower.positions"

AnySection = TypeVar("AnySection", bound=Section)


class ContrastiveSettings(ContrastiveConfig):
    """Sizes of the model, and the towers it starts from: their sizes need not be set, and cannot be others.

    image_checkpoint  a folder with an image tower, of any layout that trainer_bridge.convert reads; its pooling is taken too
    text_checkpoint   a folder with a text tower, or a .gguf file; its tokenizer is taken too
    """

    image: InternViTConfig = InternViTConfig()
    text: TextConfig = TextConfig()
    image_checkpoint: str = ""
    text_checkpoint: str = ""


def start_contrastive(settings: ContrastiveSettings, start: Path | None) -> tuple[Start[ContrastiveModel], Tokenizer | None]:
    """The model that stage 1 starts with, at random where nothing is named, and its tokenizer, if one came with it.

    `start` is a whole stage-1 model. ValueError in one line when what is named does not load or fit.
    """
    if start is not None:
        if settings.image_checkpoint or settings.text_checkpoint:
            raise ValueError(
                "--from names a whole model: unset model.image_checkpoint and model.text_checkpoint, or leave it out"
            )
        checkpoint = read_checkpoint(start)
        tokenizer = require_whole(checkpoint, start)
        given = {"loss": "softmax"} | checkpoint.settings  # other layouts know no other
        return _start(_agreed(settings, given, f"--from {start}"), checkpoint.state), tokenizer
    image, text = _side(settings, "image"), _side(settings, "text")
    given = _agreed(settings, image.settings, f"model.image_checkpoint = {settings.image_checkpoint!r}")
    given |= _agreed(settings, text.settings, f"model.text_checkpoint = {settings.text_checkpoint!r}")
    return _start(given | {"loss": settings.loss}, image.state | text.state), text.tokenizer


def _side(settings: ContrastiveSettings, name: str) -> Checkpoint:
    """The side of the checkpoint that the settings name; where they name none, the settings alone."""
    checkpoint = getattr(settings, f"{name}_checkpoint")
    if not checkpoint:
        if name not in settings.model_fields_set:
            raise ValueError(f"the experiment has no {name} tower; set [model.{name}] or model.{name}_checkpoint")
        return Checkpoint({key: getattr(settings, key) for key in (IMAGE if name == "image" else TEXT)}, {})
    side = read_checkpoint(Path(checkpoint)).side(name)
    if name not in side.settings:
        raise ValueError(f"model.{name}_checkpoint = {checkpoint!r} holds no {name} tower")
    return side


def _agreed(settings: ContrastiveSettings, given: dict[str, Any], where: str) -> dict[str, Any]:
    """The settings of a checkpoint, with what the experiment sets of those that are free."""
    agreed = {name: getattr(settings, name) for name in IMAGE if name not in given and "image" in given}
    for name, value in given.items():
        chosen = getattr(settings, name)
        if isinstance(value, Section):
            agreed[name] = agree(chosen, value, where, f"{name}.")
        elif name in settings.model_fields_set and chosen != value:
            raise ValueError(f"{where} has another model.{name} ({value}, not {chosen})")
        else:
            agreed[name] = value
    return agreed


def agree(chosen: AnySection, given: AnySection, where: str, prefix: str = "") -> AnySection:
    """`given`, with what was set explicitly in `chosen`; ValueError when that is not free and differs."""
    explicit = {name: getattr(chosen, name) for name in chosen.model_fields_set}
    for name, value in explicit.items():
        if name not in FREE and value != getattr(given, name):
            raise ValueError(f"{where} has another model.{prefix}{name} ({getattr(given, name)}, not {value})")
    return given.model_copy(update=explicit)


def _start(settings: dict[str, Any], state: dict[str, Tensor]) -> Start[ContrastiveModel]:
    """The model of these settings with these tensors, positions resized to its pictures, and the rest at random."""
    config = ContrastiveConfig(**settings)
    if POSITIONS in state:
        grid = config.image.image_size // config.image.patch
        state = state | {POSITIONS: resize_positions(state[POSITIONS].float(), grid, grid)}
    return contrastive_start(config, state)


def start_generative(config: GenerativeConfig, start: Path) -> tuple[Start[GenerativeModel], Tokenizer]:
    """The model that stage 2 starts with: around a stage-1 model, or as a stage-2 model left it; and its tokenizer."""
    checkpoint = read_checkpoint(start)
    tokenizer = require_whole(checkpoint, start)
    if checkpoint.generative is not None:
        config = agree(config, checkpoint.generative, f"--from {start}")
    return generative_start(checkpoint, config), tokenizer
