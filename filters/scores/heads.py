"""Scores by a head on a CLIP embedding: linear layers of NumPy, as LAION publishes them.

Recognised by the names of their weights, in order, as the released files have them:

    weight, bias                            aesthetic V1: one linear layer on the embedding of ViT-B/32 or ViT-L/14
    layers.{0,2,4,6,7}.weight, .bias        aesthetic V2, the "improved aesthetic predictor": D → 1024 → 128 → 64 → 16 → 1,
                                            nothing between the layers but the dropout of training
    norm.mean, norm.variance, linear_{1..}  the unsafe detector: the embedding normalised per dimension, ReLU between the layers
                                            (32, 32 on B/32; 64, 512, 256 on L/14), a sigmoid behind the last
    layers.{0,3,6,9,12,15,16}.weight, …     the unsafe detector on ViT-H-14: D → 1024 → 2048 → 1024 → 256 → 128 → 16 → 1, ReLU
                                            behind the first five, no sigmoid

All take L2-normalised embeddings. Sources: LAION-AI/aesthetic-predictor; christophschuhmann/improved-aesthetic-predictor;
LAION-AI/CLIP-based-NSFW-Detector (src/models.py, h14_nsfw_model.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

NUMBER = re.compile(r"(?:layers\.|linear_)(\d+)\.weight")
AESTHETIC_MLP, UNSAFE_H14 = (0, 2, 4, 6, 7), (0, 3, 6, 9, 12, 15, 16)
AESTHETIC, UNSAFE = "aesthetic", "unsafe"
TINY = 1e-10  # added to the deviation


@dataclass(frozen=True)
class Head:
    """Layers (weight[out, in], bias[out]); a ReLU behind the first `relus` of them; the embedding normalised before, a sigmoid
    behind.
    """

    layers: Sequence[tuple[np.ndarray, np.ndarray]]
    relus: int = 0
    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None
    sigmoid: bool = False

    @property
    def width(self) -> int:
        """The dimensions of the embedding that it is for."""
        return int(self.layers[0][0].shape[1])

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings float32[N, D], L2-normalised → float32[N]."""
        values = embeddings.astype(np.float32)
        if self.mean is not None and self.deviation is not None:
            values = (values - self.mean) / self.deviation
        for number, (weight, bias) in enumerate(self.layers):
            values = values @ weight.T + bias
            values = np.maximum(values, 0) if number < self.relus else values
        score: np.ndarray = values[:, 0]
        return 1 / (1 + np.exp(-score)) if self.sigmoid else score


def head_of(state: Mapping[str, np.ndarray], kind: str) -> Head | None:
    """The head of a kind (`AESTHETIC` or `UNSAFE`) in a released file's weights; None where they are another model's."""
    state = {name: value.astype(np.float32) for name, value in state.items()}
    names = sorted((int(match[1]), name.removesuffix(".weight")) for name in state if (match := NUMBER.fullmatch(name)))
    numbers = tuple(number for number, _ in names)
    prefixes = [name for _, name in names] or [""]
    fields = {f"{prefix}.{field}".lstrip(".") for prefix in prefixes for field in ("weight", "bias")}
    normalised = {"norm.mean", "norm.variance"}
    if not fields <= set(state) or not set(state) - fields <= normalised:
        return None
    layers = [(np.atleast_2d(state[f"{p}.weight".lstrip(".")]), state[f"{p}.bias".lstrip(".")].reshape(-1)) for p in prefixes]
    outputs = [weight.shape[0] for weight, _ in layers]
    inputs = [weight.shape[1] for weight, _ in layers]
    if outputs[-1] != 1 or outputs[:-1] != inputs[1:] or outputs != [len(bias) for _, bias in layers]:
        return None
    if kind == AESTHETIC and (numbers == AESTHETIC_MLP or not numbers) and not normalised & set(state):
        return Head(layers)
    if kind == UNSAFE and numbers == UNSAFE_H14 and not normalised & set(state):
        return Head(layers, relus=5)
    if kind == UNSAFE and "linear_1" in prefixes and normalised <= set(state) and state["norm.mean"].size == inputs[0]:
        deviation = np.sqrt(state["norm.variance"].reshape(-1)) + TINY
        return Head(layers, len(layers) - 1, state["norm.mean"].reshape(-1), deviation, sigmoid=True)
    return None
