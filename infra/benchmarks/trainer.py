"""Training stage 1 on the CPU from shards on disk, in batches of 64: CLIP's ViT, 384 wide and 6 deep, in patches of 32 pixels.

    vs_open_clip   samples/s of our trainer over those of open_clip's own training command: same sizes, shards, crops, clipping
    vs_bare_step   over those of forward, backward and AdamW alone, on tensors in memory, with the same products and kept memory
    data_wait      share of the time in which our trainer waits for a batch, at worst

One process with a thread a core; open_clip's loader has a process a core besides, ours a thread a core. Both load four batches
ahead, and the first steps, in which these are loaded, are left out. Pictures are 512-px JPEGs of photographs' entropy (60 kB), in
files that are not in the page cache. In turns, medians.
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

import torch
from torch import Tensor
from torch.nn import functional as F

from infra.benchmarks.loader import forget, write_shards
from infra.benchmarks.on_gpu.open_clip_loop import clip_sizes
from infra.benchmarks.peers import peer
from infra.compat.children import HOME
from infra.compat.cpu_products import use_onednn
from infra.compat.memory import keep_all_memory
from trainer_bridge.data.transforms import normalise
from trainer_bridge.models.contrastive import ContrastiveConfig, ContrastiveModel
from trainer_bridge.models.internvit import InternViTConfig
from trainer_bridge.models.text_tower import TextConfig

CORES = os.cpu_count() or 1
SAMPLES, BATCH, AHEAD, TURNS = 1_280, 64, 4, 3
LEFT_OUT = AHEAD + 1  # steps at the start
WORDS = " of many things" * 12  # captions fill the text tower's length
CONFIG = ContrastiveConfig(
    image=InternViTConfig(
        image_size=224,
        patch=32,
        width=384,
        depth=6,
        heads=6,
        mlp=1536,
        norm="layer",
        qkv_bias=True,
        qk_norm=False,
        pre_norm=True,
    ),
    text=TextConfig(vocabulary=49408, length=32, width=256, depth=4, heads=4, mlp=688),
    embedding=256,
    pool="class",
)
SETTINGS = {
    "model": {"embedding": CONFIG.embedding, "pool": CONFIG.pool},
    "model.image": CONFIG.image.model_dump(exclude_unset=True),
    "model.text": CONFIG.text.model_dump(exclude_unset=True),
    # A batch's pixels and files are 13.3 MiB. open_clip's command crops nine tenths of a picture at least.
    "data": {"batch": BATCH, "least_area": 0.9, "ahead_mib": 14 * AHEAD},
    "optimizer": {"image_lr": 1e-4, "text_lr": 1e-4, "betas": [0.9, 0.98], "weight_decay": 0.1, "warmup": 1},
    "run": {"micro_batch": BATCH, "precision": "fp32", "zero": 0},
}
UNDER = {"open_clip": "vs_open_clip", "bare": "vs_bare_step"}
BATCH_RATE = re.compile(r"Batch \(t\): [\d.]+, ([\d.]+)/s")


def measure(rows: int) -> dict[str, Any]:
    """Measures on `rows` samples (0: as many as in twenty batches)."""
    count = max(rows or SAMPLES, BATCH * (LEFT_OUT + 2))
    with tempfile.TemporaryDirectory(dir=os.environ.get("PAIRMILL_BENCH_DIR")) as name:
        folder = Path(name)
        write_shards(folder / "shards", count, WORDS)
        turns = [_turn(folder, count, turn) for turn in range(TURNS)]
    figures = {f"{name}_per_s": statistics.median(turn[name] for turn in turns) for name in ("ours", *UNDER)}
    ratios = {ratio: statistics.median(turn["ours"] / turn[name] for turn in turns) for name, ratio in UNDER.items()}
    ratios["data_wait"] = max(turn["data_wait"] for turn in turns)
    return {"samples": count, "figures": figures, "ratios": ratios}


def _turn(folder: Path, count: int, turn: int) -> dict[str, float]:
    """Samples/s of each, one after the other."""
    forget(folder / "shards")
    rates = ours(folder, count // BATCH, folder / f"ours-{turn}")
    rates["bare"] = float(_run([sys.executable, "-m", "infra.benchmarks.trainer", str(count // BATCH)]).split()[-1])
    forget(folder / "shards")
    rates["open_clip"] = open_clip(folder, count, folder / f"open_clip-{turn}")
    sys.stderr.write(json.dumps({name: round(rate, 3) for name, rate in rates.items()}) + "\n")
    return rates


def ours(folder: Path, steps: int, out: Path) -> dict[str, float]:
    """Samples/s of our trainer, and its wait for data."""
    tables = SETTINGS | {"optimizer": SETTINGS["optimizer"] | {"steps": steps}, "log": {"window": steps - LEFT_OUT}}
    lines = [
        line for name, table in tables.items() for line in (f"[{name}]", *(f"{key} = {json.dumps(table[key])}" for key in table))
    ]
    config = out.with_suffix(".toml")
    config.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "trainer_bridge.train", "--stage", "contrastive", "--config", str(config)]
    _run([*command, "--shards", str(folder / "shards"), "--out", str(out)])
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    return {"ours": last["samples_per_s"], "data_wait": last["data_wait"]}


def open_clip(folder: Path, count: int, logs: Path) -> float:
    """Samples/s that open_clip's training command prints."""
    model, tars = folder / "as-stage1.json", sorted((folder / "shards").glob("*.tar"))
    model.write_text(json.dumps(clip_sizes(CONFIG)))
    options = {
        "train-data": f"{folder}/shards/train-{{000000..{len(tars) - 1:06d}}}.tar",
        "dataset-type": "webdataset",
        "train-num-samples": count,
        "model": model.stem,
        "batch-size": BATCH,
        "workers": CORES,
        "device": "cpu",
        "precision": "fp32",
        "epochs": 1,
        "lr": 1e-4,
        "warmup": 1,
        "grad-clip-norm": 1.0,
        "log-every-n-steps": 1,
        "logs": logs,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    printed = _run([str(peer("open_clip")), "-m", "infra.benchmarks.peers.open_clip_training", str(model), *words])
    rates = [float(rate) for rate in BATCH_RATE.findall(printed)][LEFT_OUT:]
    return statistics.harmonic_mean(rates)


def bare(steps: int) -> float:
    """Samples/s of forward, backward and AdamW on one batch in memory, with the matrix products of our trainer.

    And with its memory: else the bare step would be the slower of the two.
    """
    use_onednn()
    keep_all_memory()
    model = ContrastiveModel(CONFIG)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    pixels = torch.randint(0, 256, (BATCH, 3, CONFIG.image.image_size, CONFIG.image.image_size), dtype=torch.uint8)
    tokens = torch.randint(2, CONFIG.text.vocabulary, (BATCH, CONFIG.text.length))
    lengths, ends = torch.full((BATCH,), CONFIG.text.length), []
    for _ in range(steps):
        features = model(normalise(pixels), tokens, lengths)
        _loss(features.scale * features.image @ features.text.T).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ends.append(time.perf_counter())
    return BATCH * (steps - LEFT_OUT) / (ends[-1] - ends[LEFT_OUT - 1])


def _loss(logits: Tensor) -> Tensor:
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def _run(command: list[str]) -> str:
    """What a command writes, with a thread a core; RuntimeError with its last words when it fails."""
    environment = os.environ | {"OMP_NUM_THREADS": str(CORES)}
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=HOME, env=environment, check=False
    )
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {ended.stdout[-2000:]}")
    return ended.stdout


if __name__ == "__main__":
    sys.stdout.write(f"{bare(int(sys.argv[1]))}\n")
