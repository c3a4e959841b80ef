"""A small language model of the demo's captions: the tiny stage 1 starts its text tower from it, as InternVL from a LLaMA.

It reads what is said of one thing in several languages, sentence after sentence, an end token behind each: the sentences of a
stamp on which stage 1 is trained too, without those held out, and the names of an emoji. So the state at an end token, at which
stage 1 reads a caption, is one from which other languages' words for the same thing can be told.
"""

from __future__ import annotations

import json
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from infra.compat.cpu_products import use_onednn
from infra.compat.paths import cache_folder
from pipelines.demo_corpus.corpus import ANNOTATIONS, FONT, debian_packages, load_emoji
from pipelines.demo_corpus.lessons import sentences
from sharding.index import read_dataset
from sharding.reader import ShardReader
from trainer_bridge.data.tokenizer import END, PAD, train_tokenizer
from trainer_bridge.models.internvl import LanguageConfig, new_language_model
from trainer_bridge.models.losses import IGNORED, token_loss
from trainer_bridge.schedule import cosine

STEPS, BATCH, WARMUP, RATE, DECAY = 3_000, 48, 100, 3e-3, 0.1
LENGTH, SENTENCES = 48, 4  # most tokens of a row, and sentences
READ_AT_ONCE = 500
FIGURES = "figures.json"

Things = Sequence[Sequence[str]]  # what is said of each thing, in several languages


def make(preset: Path, shards: Path, languages: Sequence[str], out: Path) -> dict[str, Any]:
    """Trains the model, of the sizes in the preset's [model.text], and writes it as Hugging Face does; returns its figures.

    What was trained before is not trained again.
    """
    if not (out / FIGURES).exists():
        text = tomllib.loads(preset.read_text())["model"]["text"]
        sizes = LanguageConfig(**{name: text[name] for name in LanguageConfig.model_fields})
        train([*stamps(shards), *emoji(languages)], sizes, out, STEPS)
    figures: dict[str, Any] = json.loads((out / FIGURES).read_text())
    return figures


def stamps(shards: Path) -> Things:
    """The sentences of each picture in the training split."""
    reader, by_key = ShardReader(read_dataset(str(shards)), "train"), dict[str, list[str]]()
    places = [(shard, row) for shard, size in enumerate(reader.sizes()) for row in range(size)]
    for start in range(0, len(places), READ_AT_ONCE):
        for sample in reader.read_all(places[start : start + READ_AT_ONCE]):
            by_key.setdefault(json.loads(sample.json or b"{}")["key"], []).append(sample.text)
    return list(by_key.values())


def emoji(languages: Sequence[str]) -> Things:
    """The names of each emoji of one sign."""
    tree = debian_packages(cache_folder())
    pictures = load_emoji(tree / FONT, [tree / folder for folder in ANNOTATIONS])
    shown = (picture for picture in pictures if len(picture.text.replace("\ufe0f", "")) == 1)
    return [[text for _, text in sentences(picture, languages, names_only=True)] for picture in shown]


def train(things: Things, sizes: LanguageConfig, out: Path, steps: int) -> None:
    """Trains a tokenizer and a model, and writes them with the figures of the training."""
    use_onednn()
    torch.manual_seed(0)
    began = time.process_time()
    tokenizer = train_tokenizer((text for texts in things for text in texts), sizes.vocabulary)
    end = tokenizer.get_vocab()[END]
    encoded = [
        [[*row.ids, end] for row in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)] for texts in things
    ]
    model = new_language_model(sizes, LENGTH, tokenizer.get_vocab()[PAD], end)
    decayed, rest = ([p for p in model.parameters() if (p.ndim > 1) == is_matrix] for is_matrix in (True, False))
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), fused=True)
    losses = list[float]()
    for step, ids in enumerate(batches([texts for texts in encoded if texts], end, steps)):
        for group in optimizer.param_groups:
            group["lr"] = RATE * cosine(step, WARMUP, steps)
        losses.append(_update(model, ids, optimizer))
        if step % 100 == 0:
            sys.stderr.write(f"language   step {step} / {steps}  loss {losses[-1]:.3f}\n")
    model.save_pretrained(out)
    tokenizer.save(str(out / "tokenizer.json"))
    figures = {"steps": steps, "loss": float(np.mean(losses[-100:])), "cpu_seconds": time.process_time() - began}
    (out / FIGURES).write_text(json.dumps(figures) + "\n")


def batches(encoded: Sequence[Sequence[list[int]]], end: int, steps: int) -> Iterator[Tensor]:
    """Rows int64[B, T] of sentences about one thing in a random order, IGNORED behind the last; half begin with the end token."""
    rng, counts = np.random.default_rng(0), np.array([len(texts) for texts in encoded])
    for _ in range(steps):
        rows = []
        for thing in rng.choice(len(encoded), BATCH, p=counts / counts.sum()):
            chosen = rng.permutation(len(encoded[thing]))[:SENTENCES]
            before = [end] * int(rng.integers(2))
            rows.append(torch.tensor([*before, *(token for i in chosen for token in encoded[thing][i])][:LENGTH]))
        yield nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORED)


def _update(model: Any, ids: Tensor, optimizer: torch.optim.Optimizer) -> float:
    """One step on rows int64[B, T]; the mean loss of their tokens."""
    labels = ids[:, 1:]
    logits = model(input_ids=ids[:, :-1].clamp(min=0)).logits
    loss = token_loss(logits, labels) / (labels != IGNORED).sum()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())
