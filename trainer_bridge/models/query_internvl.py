"""InternVL-Chat that sees QLLaMA's queries too: InternViT → QLLaMA → MLP → language model. Source: InternVL §3.4.

In transformers' manner, so that it is loaded, saved and generates as any model there does; but of a type of its own, which no
other program knows. Imported where it is needed, as transformers is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import InternVLConfig, InternVLForConditionalGeneration
from transformers.models.internvl.modeling_internvl import InternVLModel

from trainer_bridge.models.qllama import CrossAttention, GenerativeConfig, QueryLayer, through_layers
from trainer_bridge.models.text_tower import TextConfig, new_text_tower


class QueryInternVLConfig(InternVLConfig):
    """InternVL's, and QLLaMA's: `qllama_text` and `qllama` are its TextConfig and GenerativeConfig.

    visual  what the language model sees of a tile: "patches", "queries", or both, in this order
    """

    model_type = "internvl_queries"

    qllama_text: dict[str, Any] | None = None
    qllama: dict[str, Any] | None = None
    visual: list[str] | None = None


class QueryTower(nn.Module):
    """QLLaMA without its texts: picture tokens [K, N, image width] → queries [K, Q, width]."""

    def __init__(self, text: TextConfig, config: GenerativeConfig, image_width: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(1, config.queries, text.width))
        self.text_tower = new_text_tower(text)
        self.text_tower.embed_tokens = nn.Identity()  # it reads no text
        layers = range(0, text.depth, config.cross_every)
        cross = {i: CrossAttention(text.width, image_width, config.cross_heads, text.norm_eps) for i in layers}
        self.cross = nn.ModuleDict({str(i): module for i, module in cross.items()})
        self.layers = nn.ModuleList(
            QueryLayer(layer, cross.get(i), config.queries) for i, layer in enumerate(self.text_tower.layers)
        )
        nn.init.normal_(self.queries, std=0.02)

    def forward(self, picture: Tensor) -> Tensor:
        """As `GenerativeModel.decode` without a text."""
        states = self.queries.to(picture.dtype).repeat(len(picture), 1, 1)
        return through_layers(self.text_tower, self.layers, states, picture, None)


class QueryInternVLModel(InternVLModel):
    """InternVLModel whose picture features are the projected patches, the projected queries, or both."""

    config_class = QueryInternVLConfig

    def __init__(self, config: QueryInternVLConfig) -> None:
        super().__init__(config)
        text, qllama = TextConfig(**config.qllama_text or {}), GenerativeConfig(**config.qllama or {})
        width = config.text_config.hidden_size
        self.query_tower = QueryTower(text, qllama, config.vision_config.hidden_size)
        self.query_projector = nn.Sequential(
            nn.LayerNorm(text.width), nn.Linear(text.width, width), nn.GELU(), nn.Linear(width, width)
        )
        if "patches" not in (config.visual or ()):
            self.multi_modal_projector = nn.Identity()

    def get_image_features(self, pixel_values: Tensor, **options: Any) -> Any:
        """Tiles float[K, 3, S, S] → the image tower's output, with the features [K, T, width] as `pooler_output`."""
        outputs = self.vision_tower(pixel_values=pixel_values.to(dtype=self.dtype), return_dict=True)
        states, parts = outputs.last_hidden_state, []
        if "patches" in self.config.visual:
            side = int((states.shape[1] - 1) ** 0.5)
            square = self.pixel_shuffle(states[:, 1:].unflatten(1, (side, side)), scale_factor=self.config.downsample_ratio)
            parts.append(self.multi_modal_projector(square.flatten(1, 2)))
        if "queries" in self.config.visual:
            parts.append(self.query_projector(self.query_tower(states)))
        outputs.pooler_output = torch.cat(parts, dim=1)
        return outputs


class QueryInternVL(InternVLForConditionalGeneration):
    """InternVLForConditionalGeneration around a QueryInternVLModel."""

    config_class = QueryInternVLConfig

    def __init__(self, config: QueryInternVLConfig) -> None:
        super().__init__(config)
        self.model = QueryInternVLModel(config)
        self.post_init()
