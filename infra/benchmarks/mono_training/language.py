"""A small language model of the LLaMA family that has read the sentences, and its loss on text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

SIZES = {"hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2}
VOCABULARY, STEPS, BATCH, RATE, LONGEST = 2000, 250, 64, 2e-3, 40


def write_language(folder: Path, steps: int = STEPS) -> None:
    """Trains the model on `sentences.json` of the folder; writes it, as Hugging Face has it, to `language`."""
    from infra.compat.torchvision_operators import define_missing_operators
    from trainer_bridge.data.chat_tokenizer import new_tokenizer

    define_missing_operators()
    from transformers import LlamaConfig, LlamaForCausalLM

    sentences = json.loads((folder / "sentences.json").read_text())["train"]
    tokenizer = new_tokenizer(sentences, VOCABULARY)
    torch.manual_seed(0)
    ends = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **ends, **SIZES))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    draws = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = torch.randint(0, len(sentences), (BATCH,), generator=draws).tolist()
        loss, count = _loss(model, tokenizer, [sentences[i] for i in chosen])
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.save_pretrained(folder / "language")
    tokenizer.save_pretrained(folder / "language")


@torch.inference_mode()  # type: ignore[untyped-decorator]
def text_loss(model: Any, tokenizer: Any, sentences: Sequence[str]) -> float:
    """Mean loss a token of a causal language model on sentences."""
    model.eval()
    parts = [_loss(model, tokenizer, sentences[first : first + BATCH]) for first in range(0, len(sentences), BATCH)]
    return float(sum(loss for loss, _ in parts)) / sum(count for _, count in parts)


def text_logits(model: Any, tokenizer: Any, sentences: Sequence[str], rows: int) -> Tensor:
    """The logits of the first `rows` tokens of the vocabulary on sentences: float32[N, T, rows]."""
    with torch.inference_mode():
        logits: Tensor = model.eval()(_ids(tokenizer, sentences)).logits[..., :rows]
    return logits


def _ids(tokenizer: Any, sentences: Sequence[str]) -> Tensor:
    """int64[N, T]: the sentences, each with an end, padded."""
    rows = [[*tokenizer.encode(text)[: LONGEST - 1], tokenizer.eos_token_id] for text in sentences]
    table = torch.full((len(rows), max(map(len, rows))), tokenizer.pad_token_id)
    for number, row in enumerate(rows):
        table[number, : len(row)] = torch.tensor(row)
    return table


def _loss(model: Any, tokenizer: Any, sentences: Sequence[str]) -> tuple[Tensor, int]:
    """The sum of the losses of all tokens but the first, and their number."""
    ids = _ids(tokenizer, sentences)
    targets = ids[:, 1:].masked_fill(ids[:, 1:] == tokenizer.pad_token_id, -100)
    logits = model(ids).logits[:, :-1]
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")
    return loss, int((targets >= 0).sum())
