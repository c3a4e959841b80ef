"""Training stage 1 on this machine's CPU from shards on disk: a ViT-S/16 of 128 px and a text tower of 256 × 6, batches of 32.

    vs_open_clip   samples/s of our trainer over those of open_clip's own training command, same sizes, same shards
    vs_bare_step   over those of forward, backward and AdamW alone, on tensors in memory
    data_wait      share of our trainer's time in which it waits for a batch

Over the last steps of each, the first ones left out; in turns, medians.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from infra.benchmarks.loader import write_shards
from infra.benchmarks.on_gpu.open_clip_loop import clip_sizes
from infra.benchmarks.peers import peer
from infra.compat.children import HOME
from trainer_bridge.data.transforms import normalise
from trainer_bridge.models.contrastive import ContrastiveConfig, ContrastiveModel
from trainer_bridge.models.internvit import InternViTConfig
from trainer_bridge.models.text_tower import TextConfig

WORDS = " of many things" * 12  # captions fill the text tower's length
SAMPLES, BATCH, LEFT_OUT, TURNS = 512, 32, 4, 3
CONFIG = ContrastiveConfig(
    image=InternViTConfig(image_size=128, patch=16, width=384, depth=12, heads=6, mlp=1536),
    text=TextConfig(vocabulary=49408, length=32, width=256, depth=6, heads=4, mlp=688),
    embedding=256,
    pool_heads=4,
)
IMAGE = CONFIG.image.model_dump(include={"image_size", "patch", "width", "depth", "heads", "mlp"})
TEXT = CONFIG.text.model_dump(include={"vocabulary", "length", "width", "depth", "heads", "mlp"})
UNDER = {"open_clip": "open_clip", "bare_step": "bare"}
EXPERIMENT = """
[data]
batch = {batch}
[optimizer]
image_lr = 1e-4
text_lr = 1e-4
betas = [0.9, 0.98]
weight_decay = 0.1
warmup = 1
steps = {steps}
[run]
micro_batch = {batch}
precision = "fp32"
zero = 0
[log]
window = {window}
"""
# open_clip's command, told of a model of these sizes first.
OPEN_CLIP = """
import sys
import open_clip
from open_clip_train.main import main
open_clip.add_model_config(sys.argv[1])
main(sys.argv[2:])
"""
RATE = re.compile(r"Batch \(t\): [\d.]+, ([\d.]+)/s")


def measure(rows: int) -> dict[str, Any]:
    """Measures on `rows` samples (0: five hundred)."""
    count = max(rows or SAMPLES, BATCH * (LEFT_OUT + 2))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shards(folder / "shards", count, WORDS)
        turns = [_turn(folder, count, turn) for turn in range(TURNS)]
    figures = {f"{name}_per_s": statistics.median(turn[name] for turn in turns) for name in ("ours", "open_clip", "bare")}
    ratios = {f"vs_{name}": statistics.median(turn["ours"] / turn[under] for turn in turns) for name, under in UNDER.items()}
    return {"samples": count, "figures": figures, "ratios": ratios | {"data_wait": max(turn["data_wait"] for turn in turns)}}


def _turn(folder: Path, count: int, turn: int) -> dict[str, float]:
    rates = ours(folder, count, folder / f"ours-{turn}")
    rates["bare"] = float(_run([sys.executable, "-m", "infra.benchmarks.trainer", str(count // BATCH)]))
    rates["open_clip"] = open_clip(folder, count, folder / f"open_clip-{turn}")
    sys.stderr.write(json.dumps({name: round(rate, 3) for name, rate in rates.items()}) + "\n")
    return rates


def ours(folder: Path, count: int, out: Path) -> dict[str, float]:
    """Samples/s of our trainer, and its wait for data."""
    steps = count // BATCH
    config = out.with_suffix(".toml")
    sizes = CONFIG.model_dump(include={"embedding", "pool_heads"})
    tables = {"model": sizes, "model.image": IMAGE, "model.text": TEXT}
    model = "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in table.items()) for name, table in tables.items()
    )
    config.write_text(model + EXPERIMENT.format(batch=BATCH, steps=steps, window=steps - LEFT_OUT))
    command = [sys.executable, "-m", "trainer_bridge.train", "--stage", "contrastive", "--config", str(config)]
    _run([*command, "--shards", str(folder / "shards"), "--out", str(out)])
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    return {"ours": last["samples_per_s"], "data_wait": last["data_wait"]}


def open_clip(folder: Path, count: int, logs: Path) -> float:
    """Samples/s that open_clip's training command prints."""
    model = folder / "as-stage1.json"
    model.write_text(json.dumps(clip_sizes(CONFIG)))
    tars = sorted((folder / "shards").glob("*.tar"))
    urls = f"{folder}/shards/train-{{000000..{len(tars) - 1:06d}}}.tar"
    options: dict[str, object] = {
        "train-data": urls,
        "dataset-type": "webdataset",
        "train-num-samples": count,
        "model": model.stem,
    }
    options |= {"batch-size": BATCH, "epochs": 1, "workers": os.cpu_count(), "device": "cpu", "precision": "fp32", "lr": 1e-4}
    options |= {"warmup": 1, "grad-clip-norm": 1.0, "logs": logs, "log-every-n-steps": 1, "zeroshot-frequency": 0}
    command = [str(peer("loaders")), "-c", OPEN_CLIP, str(model)]
    ended = _output([*command, *(word for name, value in options.items() for word in (f"--{name}", str(value)))])
    rates = [float(rate) for rate in RATE.findall(ended)][LEFT_OUT:]
    return len(rates) / sum(1 / rate for rate in rates)


def bare(steps: int) -> float:
    """Samples/s of forward, backward and AdamW on one batch in memory."""
    torch.manual_seed(0)
    model = ContrastiveModel(CONFIG)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    pixels = torch.randint(0, 256, (BATCH, 3, CONFIG.image.image_size, CONFIG.image.image_size), dtype=torch.uint8)
    tokens = torch.randint(2, 300, (BATCH, CONFIG.text.length))
    lengths, seconds = torch.full((BATCH,), tokens.shape[1]), []
    for _ in range(steps):
        started = time.perf_counter()
        features = model(normalise(pixels), tokens, lengths)
        _loss(features.scale * features.image @ features.text.T).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - started)
    return BATCH / float(np.mean(seconds[LEFT_OUT:]))


def _loss(logits: Tensor) -> Tensor:
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def _run(command: list[str]) -> str:
    """The last line of a command's standard output."""
    return _output(command, stderr=False).splitlines()[-1]


def _output(command: list[str], *, stderr: bool = True) -> str:
    """What a command writes; RuntimeError with its last words when it fails."""
    ended = subprocess.run(command, capture_output=True, text=True, cwd=HOME, check=False)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {ended.stderr[-2000:]}")
    return ended.stdout + (ended.stderr if stderr else "")


if __name__ == "__main__":
    sys.stdout.write(f"{bare(int(sys.argv[1]))}\n")
