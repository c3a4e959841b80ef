"""Captions → token ids, by any `tokenizer.json`, or by a byte-level BPE trained on the shards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from trainer_bridge.models.text_tower import TextConfig

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


def load_tokenizer(path: Path, text: TextConfig) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`; ValueError in one line when it does not load or lacks a token of `text`."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise ValueError(f"{path} is no tokenizer that loads ({str(error).splitlines()[0]})") from None
    require_tokens(tokenizer, text, path)
    return tokenizer


def require_tokens(tokenizer: Tokenizer, text: TextConfig, path: Path) -> None:
    """ValueError in one line when the tokenizer of `path` lacks the begin or end token of `text`."""
    for name in filter(None, (text.begin, text.end)):
        if tokenizer.token_to_id(name) is None:
            raise ValueError(f"{path} has no token {name}, which every caption gets; set model.text.begin and model.text.end")


def encode(tokenizer: Tokenizer, captions: Sequence[str], text: TextConfig, *, prefixed: bool = True) -> tuple[Tensor, Tensor]:
    """(ids int64[B, T] padded at the end with 0, lengths int64[B]); T ≤ `text.length`.

    [BOS], where `text` has one, the prefix unless it is left out, the caption, and [EOS], also where the caption is cut.
    """
    begin = [tokenizer.token_to_id(text.begin)] if text.begin else []
    end = tokenizer.token_to_id(text.end)
    texts = [text.prefix + caption for caption in captions] if prefixed else list(captions)
    most = text.length - len(begin) - 1
    rows = [[*begin, *encoding.ids[:most], end] for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    return ids, lengths
