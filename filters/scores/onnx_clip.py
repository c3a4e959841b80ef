"""Embeddings by a CLIP in ONNX: two sessions, a tokenizer, and the preprocessing of pictures and captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

PAD = 0
GAP = 2.0  # times the side that a picture is reduced to before it is resized


@dataclass(frozen=True)
class OnnxClip:
    """A CLIP exported to ONNX.

    image, text   onnxruntime sessions: pixels[B, 3, S, S] → features[B, D]; tokens[B, T] and lengths[B] → features[B, D]
    about         side S in pixels, mean and std of channels, length in tokens, prefix of captions, begin and end tokens
    """

    image: Any
    text: Any
    tokenizer: Tokenizer
    about: dict[str, Any]

    @property
    def needed(self) -> int:
        """The sides in pixels that a picture should have before it is prepared."""
        return int(GAP * self.about["side"])

    @property
    def preprocessing(self) -> str:
        """How pictures are prepared, in words."""
        return f"squeezed to {self.about['side']} px, bilinear; mean {self.about['mean']}, std {self.about['std']}"

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """A picture uint8[H, W, 3] squeezed into a square: uint8[S, S, 3]."""
        size = self.about["side"], self.about["side"]
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=GAP))

    def tokenise(self, caption: str) -> np.ndarray:
        """The tokens of a caption, int64[T], those of its beginning where it is long."""
        begin = [self.tokenizer.token_to_id(token) for token in [self.about.get("begin")] if token]
        end, longest = self.tokenizer.token_to_id(self.about["end"]), self.about["length"] - len(begin) - 1
        ids = self.tokenizer.encode(self.about["prefix"] + caption, add_special_tokens=False).ids
        return np.array([*begin, *ids[:longest], end], dtype=np.int64)

    def embed_pixels(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """Prepared pictures → float32[N, D], L2-normalised."""
        mean, std = (np.asarray(self.about[name], dtype=np.float32) for name in ("mean", "std"))
        batch = (np.stack(pixels).astype(np.float32) / 255.0 - mean) / std
        (features,) = self.image.run(None, {"pixels": batch.transpose(0, 3, 1, 2)})
        embeddings: np.ndarray = features
        return embeddings

    def embed_tokens(self, tokens: Sequence[np.ndarray]) -> np.ndarray:
        """Tokens of captions → float32[N, D], L2-normalised."""
        lengths = np.array([len(row) for row in tokens], dtype=np.int64)
        batch = np.full((len(tokens), lengths.max()), PAD, dtype=np.int64)
        for row, ids in zip(batch, tokens, strict=True):
            row[: len(ids)] = ids
        (features,) = self.text.run(None, {"tokens": batch, "lengths": lengths})
        embeddings: np.ndarray = features
        return embeddings

    def embed_pictures(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """RGB pictures → float32[N, D], L2-normalised."""
        return self.embed_pixels([self.prepare(np.asarray(picture)) for picture in pictures])

    def embed_captions(self, captions: Sequence[str]) -> np.ndarray:
        """Captions → float32[N, D], L2-normalised."""
        return self.embed_tokens([self.tokenise(caption) for caption in captions])
