"""Models of stages 1 and 2 in folders: config.json, model.safetensors, tokenizer.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from infra.compat.settings import Section, first_fault
from trainer_bridge.data.tokenizer import load_tokenizer
from trainer_bridge.models.contrastive import ContrastiveConfig, ContrastiveModel
from trainer_bridge.models.internvit import InternViTConfig
from trainer_bridge.models.qllama import GenerativeConfig, GenerativeModel

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"


class GenerativeFolder(Section):
    """The config.json of a stage-2 model."""

    stage1: ContrastiveConfig
    generative: GenerativeConfig


def save_contrastive(folder: Path, config: ContrastiveConfig, state: dict[str, Tensor], tokenizer: Tokenizer) -> None:
    """Writes a stage-1 model, its weights as float32."""
    _save(folder, config, state, tokenizer)


def save_generative(folder: Path, model: GenerativeModel, state: dict[str, Tensor], tokenizer: Tokenizer) -> None:
    """Writes a stage-2 model, the frozen stage 1 included, its weights as float32."""
    _save(folder, GenerativeFolder(stage1=model.stage1.config, generative=model.config), state, tokenizer)


def _save(folder: Path, config: BaseModel, state: dict[str, Tensor], tokenizer: Tokenizer) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config.model_dump(), indent=1) + "\n")
    save_file({name: tensor.detach().float().cpu().contiguous() for name, tensor in state.items()}, folder / WEIGHTS)
    tokenizer.save(str(folder / TOKENIZER))


def load_contrastive(folder: Path) -> tuple[ContrastiveModel, Tokenizer]:
    """The stage-1 model and tokenizer in `folder`; ValueError in one line when a file is missing or does not fit."""
    model = ContrastiveModel(_config(folder, ContrastiveConfig))
    _load(folder, model)
    return model, load_tokenizer(folder / TOKENIZER)


def load_generative(folder: Path) -> tuple[GenerativeModel, Tokenizer]:
    """The stage-2 model and tokenizer in `folder`; ValueError in one line when a file is missing or does not fit."""
    saved = _config(folder, GenerativeFolder)
    model = GenerativeModel(ContrastiveModel(saved.stage1), saved.generative)
    _load(folder, model)
    return model, load_tokenizer(folder / TOKENIZER)


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder; empty when there is none that can be read."""
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError):
        return {}
    return config


def _config(folder: Path, kind: type[Any]) -> Any:
    for name in (CONFIG, WEIGHTS, TOKENIZER):
        if not (folder / name).exists():
            raise ValueError(f"{folder} holds no {name}; name a folder that trainer_bridge.train wrote")
    try:
        return kind.model_validate_json((folder / CONFIG).read_text())
    except ValidationError as error:
        raise ValueError(f"{folder / CONFIG} describes no model of this stage: {first_fault(error, kind)}") from None


def _load(folder: Path, model: nn.Module) -> None:
    try:
        model.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()})
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} is no safetensors file ({error})") from None
    except RuntimeError as error:
        raise ValueError(f"{folder / WEIGHTS} does not fit {CONFIG}: {str(error).splitlines()[1].strip()}") from None


def resize_positions(model: ContrastiveModel, image: InternViTConfig) -> ContrastiveModel:
    """The model for pictures of the size in `image`: position embeddings resized bicubically, all other weights unchanged."""
    old = model.config.image
    if (old.image_size, old.patch) == (image.image_size, image.patch):
        return model
    new = old.model_copy(update={"image_size": image.image_size})
    resized = ContrastiveModel(model.config.model_copy(update={"image": new}))
    grid = image.image_size // image.patch
    state = model.state_dict()
    state["image_tower.positions"] = model.image_tower.positions_for(grid, grid).detach()
    resized.load_state_dict(state)
    return resized
