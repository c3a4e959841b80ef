"""What a folder holds of a model of stages 1 and 2, whoever wrote it: any of its parts, in our names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from trainer_bridge.models.contrastive import ContrastiveConfig, ContrastiveModel
from trainer_bridge.models.internvit import InternViTConfig
from trainer_bridge.models.qllama import GenerativeConfig, GenerativeModel
from trainer_bridge.models.text_tower import TextConfig

IMAGE, TEXT = ("image", "embedding", "pool", "pool_heads"), ("text",)  # the settings of each side
SMALLEST: dict[str, Any] = {
    "image": InternViTConfig(image_size=1, patch=1, width=1, depth=1, heads=1, mlp=1),
    "text": TextConfig(vocabulary=4, width=2, depth=1, heads=1, mlp=1),
}
SIDES = {"image": (IMAGE, ("image_",)), "text": (TEXT, ("text_tower.", "text_head."))}


@dataclass(frozen=True)
class Checkpoint:
    """Settings and tensors of a model, or of one side of it; the tensors in the precision they are stored in.

    settings    those of ContrastiveConfig that are known, by name
    state       tensors by their names in ContrastiveModel
    generative  the settings of what stage 2 adds, where the folder holds it
    added       its tensors by their names in GenerativeModel
    """

    settings: dict[str, Any]
    state: dict[str, Tensor]
    tokenizer: Tokenizer | None = None
    generative: GenerativeConfig | None = None
    added: dict[str, Tensor] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether it holds both towers and their heads."""
        return {"image", "text", "embedding"} <= self.settings.keys() and "text_projection.weight" in self.state

    def side(self, name: str) -> Checkpoint:
        """The image side with its pooling, or the text tower with its tokenizer."""
        settings, prefixes = SIDES[name]
        return Checkpoint(
            {key: self.settings[key] for key in settings if key in self.settings},
            {key: tensor for key, tensor in self.state.items() if key.startswith(prefixes)},
            self.tokenizer if name == "text" else None,
        )


def new_model(config: ContrastiveConfig, generative: GenerativeConfig | None) -> ContrastiveModel | GenerativeModel:
    """A randomly initialised model of stage 1, or of stage 2 where `generative` is given."""
    model = ContrastiveModel(config)
    return model if generative is None else GenerativeModel(model, generative)


def expected_state(config: ContrastiveConfig, generative: GenerativeConfig | None = None) -> dict[str, Tensor]:
    """Tensors without data, by their names in the model of stage 1, or of stage 2 where `generative` is given."""
    with torch.device("meta"):
        state: dict[str, Tensor] = new_model(config, generative).state_dict()
    return state


def expected_side(settings: dict[str, Any], names: Iterable[str]) -> dict[str, Tensor]:
    """Tensors without data, by name, of those parts of a stage-1 model whose names begin with one of `names`.

    `settings` are those of one side; the other is built as small as can be.
    """
    expected = expected_state(ContrastiveConfig(**SMALLEST | settings))
    return {name: tensor for name, tensor in expected.items() if name.startswith(tuple(names))}
