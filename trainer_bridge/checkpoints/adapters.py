"""Adapters in peft's layout: adapter_config.json, which names the model that they belong to, and adapter_model.safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from trainer_bridge.checkpoints.weights import save_tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter."""
    return (folder / CONFIG).exists()


def base_of(folder: Path) -> Path:
    """The folder of the model that an adapter belongs to; ValueError when it is not there."""
    base = Path(json.loads((folder / CONFIG).read_text())["base_model_name_or_path"] or "")
    if not (base / "config.json").exists():
        raise ValueError(f"{folder} is an adapter of {base}, which is not there; put the model there, or edit its {CONFIG}")
    return base


def save_adapter(folder: Path, config: Any, base: Path, state: Mapping[str, Tensor], whole: Iterable[str]) -> None:
    """Writes the adapter in a model's state, and the modules that are trained as a `whole` beside it.

    config  peft's, which made it
    """
    config.base_model_name_or_path, config.modules_to_save = str(base.absolute()), sorted(whole) or None
    config.inference_mode = True
    config.save_pretrained(folder)
    kept = {
        PREFIX + name.replace(".default.", "."): tensor
        for name, tensor in state.items()
        if ".lora_" in name or any(f".{module}." in name for module in whole)
    }
    save_tensors(folder / WEIGHTS, kept.items())


def with_adapter(model: Any, folder: Path) -> Any:
    """A model with the adapter in a folder, merged."""
    try:
        from peft import PeftModel
    except ImportError:
        raise ValueError(f"{folder} is an adapter, and reading it needs peft: pip install 'pairmill[lora]'") from None
    return PeftModel.from_pretrained(model, folder).merge_and_unload()
