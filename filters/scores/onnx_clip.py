"""Embeddings by a CLIP in ONNX: two sessions, a tokenizer, and the preprocessing of pictures and captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

PAD = 0


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

    def embed_pictures(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """RGB pictures → float32[N, D], L2-normalised. The whole picture is squeezed into a square."""
        side = self.about["side"]
        squeezed = [picture.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0) for picture in pictures]
        pixels = np.stack([np.asarray(picture, dtype=np.float32) for picture in squeezed]) / 255.0
        mean, std = (np.asarray(self.about[name], dtype=np.float32) for name in ("mean", "std"))
        (features,) = self.image.run(None, {"pixels": ((pixels - mean) / std).transpose(0, 3, 1, 2)})
        embeddings: np.ndarray = features
        return embeddings

    def embed_captions(self, captions: Sequence[str]) -> np.ndarray:
        """Captions → float32[N, D], L2-normalised."""
        texts = [self.about["prefix"] + caption for caption in captions]
        begin = [self.tokenizer.token_to_id(token) for token in [self.about.get("begin")] if token]
        end, longest = self.tokenizer.token_to_id(self.about["end"]), self.about["length"] - len(begin) - 1
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        rows = [[*begin, *encoding.ids[:longest], end] for encoding in encodings]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        tokens = np.full((len(rows), lengths.max()), PAD, dtype=np.int64)
        for row, ids in zip(tokens, rows, strict=True):
            row[: len(ids)] = ids
        (features,) = self.text.run(None, {"tokens": tokens, "lengths": lengths})
        embeddings: np.ndarray = features
        return embeddings
