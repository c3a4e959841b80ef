"""FLOPs that a training step needs, by formula, and how many a card can do: their ratio is the MFU. Source: PaLM, appendix B.

A matrix of P weights costs 2 P a token in the forward pass, and in the backward pass as much for the gradient of its weights and
as much for that of its input. Attention of T tokens costs 4 T² width a layer in the forward pass, causal or not, and twice that
in the backward pass. Norms, activations, softmax, embeddings, what is computed again and the optimizer count nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch

from trainer_bridge.models.contrastive import ContrastiveConfig
from trainer_bridge.models.internvit import InternViTConfig
from trainer_bridge.models.mono import MERGED, PictureConfig
from trainer_bridge.models.qllama import GenerativeConfig
from trainer_bridge.models.text_tower import TextConfig

# Dense bf16 FLOP/s with float32 accumulation, by what torch calls the card. Source: NVIDIA's data sheets.
PEAKS = {
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
}
FORWARD, TRAINED, FROZEN = 1, 3, 2  # passes: no gradient at all; weights trained; weights frozen, but a gradient passes through


@dataclass(frozen=True)
class Transformer:
    """Sizes of a tower; `gated`: its MLP has three matrices, as LLaMA's; `shared`: heads of queries to one of keys and values."""

    width: int
    depth: int
    mlp: int
    gated: bool
    shared: float = 1.0

    def weights(self, tokens: float) -> float:
        """FLOPs of the forward pass in the weights of all layers, for a row of `tokens`."""
        attention = (2 + 2 / self.shared) * self.width**2
        return self.depth * 2.0 * tokens * (attention + (3 if self.gated else 2) * self.width * self.mlp)

    def attention(self, tokens: float) -> float:
        """FLOPs of the forward pass in the attention of all layers, for a row of `tokens`."""
        return self.depth * 4.0 * tokens**2 * self.width

    def forward(self, tokens: float) -> float:
        """FLOPs of the forward pass for a row of `tokens`."""
        return self.weights(tokens) + self.attention(tokens)


def peak_flops(device: torch.device) -> float | None:
    """FLOP/s of a device in bf16, whatever the precision of a run; None for a card that is not listed, and for CPUs."""
    return PEAKS.get(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def image_tokens(config: InternViTConfig, drop_tokens: float = 0.0) -> int:
    """The class token and the patches, but for a share that is left out."""
    return 1 + max(1, round((config.image_size // config.patch) ** 2 * (1 - drop_tokens)))


def patches(config: InternViTConfig) -> float:
    """FLOPs of the patch embedding's forward pass for one picture."""
    return (image_tokens(config) - 1) * 2.0 * 3 * config.patch**2 * config.width


def blocks(config: InternViTConfig, drop_tokens: float = 0.0) -> float:
    """FLOPs of InternViT's blocks in the forward pass for one picture."""
    return Transformer(config.width, config.depth, config.mlp, gated=False).forward(image_tokens(config, drop_tokens))


def unread(config: InternViTConfig, drop_tokens: float = 0.0) -> float:
    """FLOPs that the forward pass of a picture does without in the last block, where the class token alone is read."""
    tokens, width = image_tokens(config, drop_tokens), config.width
    return (tokens - 1) * (2.0 * width * (width + 2 * config.mlp) + 4.0 * tokens * width)


def pooling(width: int, tokens: int, out: int) -> float:
    """FLOPs of an attention pooling's forward pass: one query, keys and values of all tokens."""
    return 2.0 * width**2 + 4.0 * tokens * width**2 + 4.0 * tokens * width + 2.0 * width * out


def text_tower(config: TextConfig) -> Transformer:
    """The sizes of a text tower."""
    shared = config.heads / (config.architecture.num_key_value_heads or config.heads)
    return Transformer(config.width, config.depth, config.mlp, gated=True, shared=shared)


def text(config: ContrastiveConfig, tokens: int) -> float:
    """FLOPs of the text feature's forward pass."""
    return text_tower(config.text).forward(tokens) + 2.0 * config.text.width * config.embedding


def contrastive_step(config: ContrastiveConfig, tokens: int, drop_tokens: float = 0.0) -> float:
    """FLOPs of one pair in stage 1, all of it trained; captions of `tokens`, pictures without a share `drop_tokens` of theirs."""
    image = blocks(config.image, drop_tokens)
    if config.pool == "attention":
        image += pooling(config.image.width, image_tokens(config.image, drop_tokens), config.embedding)
    else:
        image -= unread(config.image, drop_tokens)
    return FROZEN * patches(config.image) + TRAINED * (image + text(config, tokens))  # pixels need no gradient


def crossed(image: InternViTConfig, text: TextConfig, config: GenerativeConfig) -> float:
    """FLOPs of QLLaMA's cross-attention in the forward pass for one picture."""
    layers = len(range(0, text.depth, config.cross_every))
    projections = 2 * 2.0 * config.queries * text.width**2 + 2 * 2.0 * image_tokens(image) * image.width * text.width
    return layers * (projections + 4.0 * config.queries * image_tokens(image) * text.width)


def generative_step(stage1: ContrastiveConfig, config: GenerativeConfig, tokens: int) -> float:
    """FLOPs of one pair in stage 2: the frozen towers, then queries alone, and twice queries and captions, through the LLaMA."""
    width, queries = stage1.text.width, config.queries
    tower = text_tower(stage1.text)
    cross_attention = crossed(stage1.image, stage1.text, config)
    pooled = pooling(width, queries, stage1.embedding)
    # Features for the negatives need no gradient.
    features = (
        patches(stage1.image) + blocks(stage1.image) + text(stage1, tokens) + tower.forward(queries) + cross_attention + pooled
    )
    decoded = sum(FROZEN * tower.weights(row) + TRAINED * tower.attention(row) for row in (queries, *[queries + tokens] * 2))
    heads = TRAINED * (pooled + 2 * 2.0 * queries * width) + FROZEN * 2.0 * tokens * stage1.text.vocabulary * width
    return FORWARD * features + decoded + 3 * TRAINED * cross_attention + heads


def chat_step(
    image: InternViTConfig,
    language: Transformer,
    vocabulary: int,
    tokens: float,
    learned: float,
    visual: int,
    train: Collection[str],
    tiles: float = 1,
    qllama: tuple[TextConfig, GenerativeConfig] | None = None,
) -> float:
    """FLOPs of one conversation in stage 3.

    tokens, learned, visual  tokens of the conversation, those with a label, and those that a tile's patches become
    train                    the setting `model.train`
    tiles                    those of its pictures
    qllama                   the sizes of what gives queries, where a tile has these too
    """
    merged = (image_tokens(image) - 1) / max(1, visual)  # patches that the pixel unshuffle makes one token of
    projector = 2.0 * visual * (merged * image.width * language.width + language.width**2)
    queried = 0.0
    if qllama is not None:
        text, config = qllama
        projector += 2.0 * config.queries * (text.width * language.width + language.width**2)
        queried = text_tower(text).forward(config.queries) + crossed(image, *qllama)
        queried *= TRAINED if "queries" in train else FROZEN if "vision" in train else FORWARD
    logits = 2.0 * learned * vocabulary * language.width
    passes = TRAINED if "language" in train else FROZEN
    spoken = passes * (language.weights(tokens) + logits) + TRAINED * language.attention(tokens)
    if "vision" in train:
        return tiles * (FROZEN * patches(image) + TRAINED * (blocks(image) + projector) + queried) + spoken
    return tiles * (FORWARD * (patches(image) + blocks(image)) + TRAINED * projector + queried) + spoken


def mono_step(
    picture: PictureConfig,
    language: Transformer,
    vocabulary: int,
    tokens: float,
    learned: float,
    tiles: float,
    train: Collection[str],
) -> float:
    """FLOPs of one conversation in a stage of Mono-InternVL: each token passes one FFN of a layer. Arguments as `chat_step`'s."""
    width, visual = language.width, tiles * picture.tokens
    passes = {part: TRAINED if part in train else FROZEN for part in ("experts", "attention", "language")}
    seeing = passes["experts" if picture.experts else "language"]
    patch = 2.0 * MERGED**2 * 3 * picture.patch**2 * picture.width
    connector = 2.0 * (MERGED**2 * picture.width * width + width**2)
    ffn = language.depth * 2.0 * 3 * width * language.mlp
    projections = language.depth * 2.0 * (2 + 2 / language.shared) * width**2
    return (
        visual * (FROZEN * patch + TRAINED * connector + seeing * ffn)
        + passes["language"] * ((tokens - visual) * ffn + 2.0 * learned * vocabulary * width)
        + passes["attention"] * tokens * projections
        + TRAINED * language.attention(tokens)
    )
