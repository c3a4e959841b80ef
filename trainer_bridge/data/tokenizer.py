"""Captions → token ids, by any `tokenizer.json` with an end token, or by a byte-level BPE trained on the shards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

PAD, END = "<pad>", "</s>"


def train_tokenizer(captions: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of at most `vocabulary` tokens, lower-cased; any text in any language can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`; ValueError when it lacks an end token."""
    tokenizer = Tokenizer.from_file(str(path))
    if tokenizer.token_to_id(END) is None:
        raise ValueError(f"{path} has no {END} token, at which a caption's feature is read; use a LLaMA-style tokenizer")
    return tokenizer


def encode(tokenizer: Tokenizer, captions: Sequence[str], length: int, prefix: str = "") -> tuple[Tensor, Tensor]:
    """(ids int64[B, T] padded at the end with 0, lengths int64[B]); T ≤ `length`, and every caption ends with [EOS].

    `prefix` is put before every caption.
    """
    end = tokenizer.token_to_id(END)
    texts = [prefix + caption for caption in captions]
    rows = [[*encoding.ids[: length - 1], end] for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    return ids, lengths
