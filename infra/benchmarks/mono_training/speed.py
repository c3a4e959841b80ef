"""Tokens/s of the trainer on captioned pictures, over those of forward, backward and AdamW on the same batches in memory."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from infra.benchmarks.mono_training.runs import DELTA, experiment

SIZES = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 3}
STEPS, LEFT_OUT, TURNS = 16, 4, 3


def measure_speed(folder: Path) -> dict[str, float]:
    """Medians of tokens/s of both, and of their ratio; a language model of `SIZES`, one thread."""
    from trainer_bridge import deepspeed_engine

    _write_model(folder)
    device = deepspeed_engine.start()
    torch.set_num_threads(1)
    tokens = _tokens(folder)
    turns = [(_ours(folder, turn, device) * tokens, _bare(folder, turn) * tokens) for turn in range(TURNS)]
    deepspeed_engine.stop()
    ours, bare = (statistics.median(rates) for rates in zip(*turns, strict=True))
    return {"tokens_per_s": ours, "bare_tokens_per_s": bare, "vs_bare_loop": statistics.median(a / b for a, b in turns)}


def _write_model(folder: Path) -> None:
    """A random language model with the tokenizer of the small one, in `speed/language`, beside the same data."""
    from infra.compat.torchvision_operators import define_missing_operators

    define_missing_operators()
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(folder / "language")
    config = LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id, **SIZES)
    LlamaForCausalLM(config).save_pretrained(folder / "speed" / "language")
    tokenizer.save_pretrained(folder / "speed" / "language")


def _stage(folder: Path, turn: int, out: Path) -> Any:
    from trainer_bridge.stages.mono import MonoStage

    model = {"train": DELTA, "length": 96, "language_checkpoint": str(folder / "speed" / "language")}
    model["picture"] = {"image_size": 64, "patch": 8, "width": 48}
    optimizer = {"lr": 1e-4, "warmup": 0, "steps": STEPS, "schedule": "constant"}
    log = {"every": 1000, "window": STEPS - LEFT_OUT}
    settings = experiment(folder, "clean", DELTA, True, turn, model=model, optimizer=optimizer, log=log)
    return MonoStage(settings, None, None, out)


def _tokens(folder: Path) -> float:
    """Tokens of a conversation, on average."""
    examples = _stage(folder, 0, folder / "speed").examples
    loaded = examples.load_many(list(range(64)))
    return statistics.mean(len(example.ids) for example in loaded)


def _ours(folder: Path, turn: int, device: torch.device) -> float:
    """Samples/s of the trainer."""
    from trainer_bridge.run_folder import RunFolder
    from trainer_bridge.train import train

    out = folder / "speed" / f"ours-{turn}"
    out.mkdir(parents=True)
    stage = _stage(folder, turn, out)
    train(stage, stage.experiment, [], RunFolder(str(out)), 0.0, device)
    return float(json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["samples_per_s"])


def _bare(folder: Path, turn: int) -> float:
    """Samples/s of the bare loop."""
    from trainer_bridge.checkpoints.building import fill
    from trainer_bridge.data.instructions.loader import ExampleLoader
    from trainer_bridge.data.sequences import padded
    from trainer_bridge.data.transforms import normalise
    from trainer_bridge.stages.chat_format import encoded

    stage = _stage(folder, turn, folder / "speed")
    fill(stage.model, stage.tensors, torch.device("cpu"))
    size, pad = stage.experiment.data.batch, stage.tokenizer.pad_token_id
    loader = ExampleLoader(stage.examples, size, 0, 1, stage.experiment.data)
    tables = [padded([encoded(each) for each in batch.examples if each], [1.0] * size, pad) for batch in loader.batches(0, STEPS)]
    trained = [parameter for parameter in stage.model.parameters() if parameter.requires_grad]
    optimizer, ends = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.01, fused=True), list[float]()
    stage.model.train()
    for table in tables:
        loss = stage.model(table.ids, table.labels, normalise(table.tiles), table.weights)
        (loss / size).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ends.append(time.perf_counter())
    return float(size) * (STEPS - LEFT_OUT) / (ends[-1] - ends[LEFT_OUT - 1])
