"""What a run leaves: a model to use (config.json, model.safetensors, tokenizer.json), and DeepSpeed's state to go on from."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from trainer_bridge.models.contrastive import ContrastiveConfig, ContrastiveModel
from trainer_bridge.tokenizer import load_tokenizer

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"


def save_model(folder: Path, config: ContrastiveConfig, state: dict[str, Tensor], tokenizer: Tokenizer) -> None:
    """Writes the model to `folder`; weights are float32 on the CPU."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config.model_dump(), indent=1) + "\n")
    save_file({name: tensor.detach().float().cpu().contiguous() for name, tensor in state.items()}, folder / WEIGHTS)
    tokenizer.save(str(folder / TOKENIZER))


def load_model(folder: Path) -> tuple[ContrastiveModel, Tokenizer]:
    """The model and tokenizer in `folder`; ValueError in one line when a file is missing or does not fit."""
    for name in (CONFIG, WEIGHTS, TOKENIZER):
        if not (folder / name).exists():
            raise ValueError(f"{folder} holds no {name}; name a folder that trainer_bridge.train wrote")
    model = ContrastiveModel(ContrastiveConfig.model_validate_json((folder / CONFIG).read_text()))
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError as error:
        raise ValueError(f"{folder / WEIGHTS} does not fit {CONFIG}: {str(error).splitlines()[1].strip()}") from None
    return model, load_tokenizer(folder / TOKENIZER)
