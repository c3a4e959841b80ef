"""Models in the Hugging Face layout: whatever reads InternVL checkpoints reads ours, and the other way round. Never a pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.checkpoints.adapters import base_of, is_adapter, with_adapter
from trainer_bridge.checkpoints.layouts.layout import read_config
from trainer_bridge.checkpoints.weights import require_finite, stored_type
from trainer_bridge.data.chat_tokenizer import END

if TYPE_CHECKING:
    from torch import Tensor


def is_internvl(folder: Path) -> bool:
    """Whether the folder holds a model of stage 3: an InternVL in the Hugging Face layout, with QLLaMA's queries, or adapted.

    InternVL-14B-224px has the type of the former, but a QLLaMA.
    """
    config = read_config(base_of(folder) if is_adapter(folder) else folder)
    return config.get("model_type") in ("internvl", "internvl_queries") and "qllama_config" not in config


def _internvl_class(folder: Path) -> Any:
    define_missing_operators()
    if read_config(folder).get("model_type") == "internvl_queries":
        from trainer_bridge.models.query_internvl import QueryInternVL

        return QueryInternVL
    from transformers import InternVLForConditionalGeneration

    return InternVLForConditionalGeneration


def stored_dtype(folder: Path) -> str:
    """The type of a model's weights in its folder: that of its files, whatever its configuration names."""
    return stored_type(base_of(folder) if is_adapter(folder) else folder) or "float32"


def outline_internvl(folder: Path) -> Any:
    """The model of stage 3 in a folder, without data, on the meta device."""
    folder = base_of(folder) if is_adapter(folder) else folder
    kind = _internvl_class(folder)
    import torch

    try:
        with torch.device("meta"):
            return kind(kind.config_class.from_pretrained(folder)).float()  # as it is trained, whatever it is stored as
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds no InternVL that loads ({str(error).splitlines()[0]})") from None


def load_internvl(folder: Path) -> Any:
    """The model of stage 3 in a folder, float32, its adapter merged; ValueError in one line when it does not load."""
    if is_adapter(folder):
        return with_adapter(load_internvl(base_of(folder)), folder)
    kind = _internvl_class(folder)
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model = kind.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"{folder} holds no InternVL that loads ({str(error).splitlines()[0]})") from None
    require_finite(folder, model.state_dict())
    return model


def save_internvl(
    folder: Path,
    model: Any,
    processor: Any,
    settings: dict[str, Any],
    weights: dict[str, Tensor] | None = None,
    dtype: str = "float32",
    end: str = END,
) -> None:
    """Writes the model, its processor and generation settings; `settings` of the training go to training.json.

    `weights` are the model's, where under ZeRO-3 it holds but a piece of each; `dtype` is what they are stored as.
    `end` is the token that ends an answer.
    """
    model.generation_config.eos_token_id = processor.tokenizer.convert_tokens_to_ids(end)
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    import torch

    stored = getattr(torch, dtype)
    state = {name: tensor.detach() for name, tensor in (weights or model.state_dict()).items()}
    # By address, so that names which share a tensor share it still: it is saved once.
    cast = {tensor.data_ptr(): tensor.to(stored) for tensor in state.values() if tensor.is_floating_point()}
    weights = {name: cast.get(tensor.data_ptr(), tensor) for name, tensor in state.items()}
    for config in (model.config.text_config, model.config.vision_config):
        config.dtype = stored
    model.save_pretrained(folder, state_dict=weights)
    path = folder / "config.json"  # which names the type that the model is computed in
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dtype": dtype}, indent=2, sort_keys=True) + "\n")
    save_processor(folder, processor, settings)


def save_processor(folder: Path, processor: Any, settings: dict[str, Any]) -> None:
    """Writes what prepares texts and pictures for a model, and the settings of its training."""
    processor.save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")


def language_config(checkpoint: str, what: str = "model.language_checkpoint") -> Any:
    """The configuration alone of a causal language model in a Hugging Face folder or a .gguf file; ValueError in one line."""
    define_missing_operators()
    from transformers import AutoConfig

    folder, options = _located(checkpoint, what)
    try:
        return AutoConfig.from_pretrained(folder, **options)
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"{what} = {checkpoint!r} cannot be loaded ({str(error).splitlines()[0]})") from None


def _located(checkpoint: str, what: str) -> tuple[Path, dict[str, str]]:
    """Where transformers finds a checkpoint: a folder, and the name of a .gguf file in it."""
    path = Path(checkpoint)
    if not path.exists():
        raise ValueError(f"{what} = {checkpoint!r} is not there; name a Hugging Face folder or a .gguf file")
    return (path.parent, {"gguf_file": path.name}) if path.suffix == ".gguf" else (path, {})


def load_language_model(checkpoint: str, what: str = "model.language_checkpoint") -> tuple[Any, Any]:
    """(causal language model float32, tokenizer) of a Hugging Face folder or a .gguf file.

    ValueError in one line, beginning with `what`, when it does not load.
    """
    define_missing_operators()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    folder, options = _located(checkpoint, what)
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=not options, dtype=torch.float32, **options)
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"{what} = {checkpoint!r} cannot be loaded ({str(error).splitlines()[0]})") from None
    require_finite(Path(checkpoint), model.state_dict())
    return model, tokenizer
