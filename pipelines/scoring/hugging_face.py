"""CLIPs in transformers' layout (CLIP, SigLIP, SigLIP 2 …): a folder of config, safetensors, tokenizer and preprocessing.

Nothing is fetched from a hub, no code in the folder is run, no pickle is read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.compat.errors import RequestError
from pipelines.images.square import BICUBIC, BILINEAR, Square
from pipelines.scoring.checkpoints import Checkpoint, read_file

if TYPE_CHECKING:
    from filters.scores.clip import Clip

NAME = "hugging_face"
SETTING = "score.clip_checkpoint"
NEEDED = ("config.json", "preprocessor_config.json")
FILTERS = {2: BILINEAR, 3: BICUBIC}  # Pillow's numbers
HALF = (0.5, 0.5, 0.5)


def files(folder: str) -> list[Checkpoint]:
    """The files that decide what the model in a local folder gives, by name; RequestError when one is missing."""
    place = Path(folder)
    weights = sorted(place.glob("*.safetensors"))
    missing = [name for name in NEEDED if not (place / name).is_file()] + ([] if weights else ["*.safetensors"])
    if "://" in folder or missing:
        what = ", ".join(missing) or "files on this machine"
        raise RequestError(f"{SETTING} = {folder!r} holds no {what}; name a local folder of transformers, with safetensors")
    tokens = [path for path in sorted(place.iterdir()) if "token" in path.name or path.suffix == ".model"]
    return [read_file(str(path)) for path in sorted({*weights, *(place / name for name in NEEDED), *tokens})]


def load(folder: str, device: str, *, half: bool) -> Clip:
    """The model in a folder; RequestError in one line when it does not load, or gives no embeddings of pictures and texts."""
    from transformers import AutoModel, AutoTokenizer

    from filters.scores.clip import TorchClip

    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        model = AutoModel.from_pretrained(folder, use_safetensors=True, **options).eval().float().to(device)
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        about = json.loads((Path(folder) / "preprocessor_config.json").read_text())
    except Exception as error:  # transformers raises many kinds
        raise RequestError(f"{SETTING} = {folder!r} does not load ({str(error).splitlines()[0][:200]})") from None
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise RequestError(f"{SETTING} = {folder!r} is a {type(model).__name__}, which gives no embeddings of pictures and texts")
    square, length = _square_of(folder, about), _text_length(model.config)

    def tokenise(caption: str) -> np.ndarray:
        # Padded as in training: SigLIP looks at the last token whatever it is.
        return np.array(tokenizer(caption, padding="max_length", max_length=length, truncation=True)["input_ids"], np.int64)

    return TorchClip(
        encode_image=lambda pixels: _features(model.get_image_features(pixel_values=pixels)),
        encode_text=lambda tokens: _features(model.get_text_features(input_ids=tokens)),
        needed=square.needed,
        preprocessing=f"{square}; {json.dumps(about)}",
        prepare=square.of,
        tokenise=tokenise,
        mean=about.get("image_mean") or HALF,
        std=about.get("image_std") or HALF,
        device=device,
        half=half,
    )


def _features(output: Any) -> Any:
    """Features [N, D]: releases of transformers give them alone, or as the pooled output."""
    return getattr(output, "pooler_output", output)


def _text_length(config: Any) -> int:
    text = getattr(config, "text_config", config)
    return int(getattr(text, "max_position_embeddings", 77))


def _square_of(folder: str, about: dict[str, Any]) -> Square:
    """The preprocessing that a preprocessor_config.json describes; RequestError for another kind."""
    size, crop = about.get("size", {}), about.get("crop_size", {})
    size = {"shortest_edge": size} if isinstance(size, int) else size
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    shorter, filter = size.get("shortest_edge", 0), FILTERS.get(about.get("resample", 3))
    square = crop if shorter else size
    is_cropped = about.get("do_center_crop", bool(shorter))
    sides = {square.get("height"), square.get("width")}
    if filter is None or len(sides) != 1 or not all(sides) or bool(shorter) != is_cropped:
        raise RequestError(f"{SETTING}: {folder}/preprocessor_config.json does not resize to a square in a way that is known")
    return Square(int(square["height"]), int(shorter), filter)
