"""What a layout is: how its folders are recognised, read, and written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from tokenizers import Tokenizer

from infra.compat.settings import first_fault
from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.checkpoints.checkpoint import Checkpoint

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"


@dataclass(frozen=True)
class Layout:
    """A way in which models lie in folders.

    recognises  whether a path is of this layout
    read        the model there; ValueError in one line when it does not load
    write       writes a model into a new folder; ValueError in one line when this layout cannot hold it; None: only read
    """

    recognises: Callable[[Path], bool]
    read: Callable[[Path], Checkpoint]
    write: Callable[[Checkpoint, Path], None] | None = None


def read_config(folder: Path, name: str = CONFIG) -> dict[str, Any]:
    """The configuration of a model folder; empty when there is none that can be read."""
    try:
        config = json.loads((folder / name).read_text())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def write_config(folder: Path, config: dict[str, Any], name: str = CONFIG) -> None:
    """Writes the configuration of a model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(config, indent=1) + "\n")


def validated(kind: type[Any], values: Any, where: Path) -> Any:
    """A section of the values; ValueError in one line that names the file and the setting."""
    assert issubclass(kind, BaseModel)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"{where} describes no model of ours: {first_fault(error, kind)}") from None


def known(config: dict[str, Any], name: str, where: Path) -> Any:
    """A value of a configuration; ValueError in one line when it is not there."""
    if config.get(name) is None:
        raise ValueError(f"{where} names no {name}; fetch it again")
    return config[name]


def read_tokenizer(folder: Path, **options: Any) -> Tokenizer:
    """The tokenizer of a Hugging Face folder, without padding and truncation; ValueError in one line."""
    try:
        if (folder / TOKENIZER).exists():
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        else:
            define_missing_operators()
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(folder, **options).backend_tokenizer
    except Exception as error:  # both libraries raise types of their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{folder} holds no tokenizer that loads ({reason}); put a tokenizer.json there") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
