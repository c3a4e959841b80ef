"""Stage 3 on a mix of short conversations: packed beside padded micro-batches in the order in which they come; two CPU processes.

    vs_padded      tokens a second of packed training steps over those of padded ones, by the clock
    vs_padded_cpu  the same by the seconds of the processors
    loss           the largest relative difference between the losses of the same global batch, in float32

and figures: tokens/s and the share of padding of both, and tokens of the mix. The small InternVL of the repository, all but its
image tower trained; in turns, medians. Conversations have one to six turns, most of them one or two, and answers 4 to 60 words.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from infra.compat.children import HOME
from infra.models import INTERNVL
from trainer_bridge.launch import trainer_environment

BATCH, MICRO_BATCH, LENGTH, TURNS = 64, 8, 512, 5
WORDS = ["a", "red", "green", "small", "fox", "bird", "house", "boat", "plays", "near", "the", "old", "tree", "with", "two"]


def measure(rows: int) -> dict[str, Any]:
    """Measures on global batches of `rows` conversations (0: 64)."""
    with tempfile.TemporaryDirectory() as name:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        command = [*launcher, "-m", "infra.benchmarks.packing", name, str(rows or BATCH)]
        subprocess.run(command, check=True, env=trainer_environment(), cwd=HOME)
        measured: dict[str, Any] = json.loads((Path(name) / "measured.json").read_text())
    return measured


def _experiment(batch: int, packed: bool) -> Any:
    from trainer_bridge.stages.chat_settings import ChatExperiment

    settings: dict[str, Any] = {
        "model": {"train": ["projector", "language"], "length": LENGTH},
        "data": {"batch": batch},
        "optimizer": {"lr": 1e-4, "warmup": 0, "steps": 1000},
        "run": {"micro_batch": MICRO_BATCH, "precision": "fp32"},
    }
    if packed:
        settings["packing"] = {"tokens": 2 * LENGTH, "tiles": 2 * MICRO_BATCH}
    return ChatExperiment.model_validate(settings)


def _conversations(batch: int, step: int) -> list[bytes]:
    """The json members of a global batch."""
    draws = np.random.default_rng(step)
    entries = []
    for _ in range(batch):
        turns = []
        for _ in range(int(draws.choice([1, 1, 2, 2, 3, 6]))):
            answer = " ".join(draws.choice(WORDS, int(draws.integers(4, 61))))
            turns += [{"from": "human", "value": "Describe the picture in one sentence."}, {"from": "gpt", "value": answer}]
        entries.append(json.dumps({"conversations": turns}).encode())
    return entries


def _batch(size: int, step: int, side: int) -> Any:
    """A rank's slice of a global batch."""
    from trainer_bridge.data.batch import Batch
    from trainer_bridge.models.losses import rank, world_size

    share = size // world_size()
    own = slice(rank() * share, (rank() + 1) * share)
    pixels = torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(step))[own]
    positions = list(range(size))[own]
    return Batch(
        pixels,
        [""] * share,
        _conversations(size, step)[own],
        positions,
        positions,
        positions,
        pixels.any(-1).flatten(1).any(1),
        [],
    )


def _steps(folder: Path, size: int) -> None:
    """Steps of both in turns, on every rank; the first of each is not counted."""
    from trainer_bridge import deepspeed_engine
    from trainer_bridge.models.losses import rank
    from trainer_bridge.stages.chat import ChatStage
    from trainer_bridge.train import train_step

    device = deepspeed_engine.start()
    stages: dict[str, tuple[Any, Any]] = {}
    for name in ("padded", "packed"):
        stage = ChatStage(_experiment(size, name == "packed"), None, INTERNVL, folder)
        stages[name] = stage, deepspeed_engine.initialise(stage.model, stage.parameters(), stage.experiment, 2)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in stages}
    for turn in range(TURNS + 1):
        for name, (stage, engine) in stages.items():
            deepspeed_engine.set_learning_rates(engine, stage.experiment.optimizer, 0.0, 0.0)  # both stay the same model
            batch = _batch(size, turn, stage.side)
            started, processor = time.perf_counter(), time.process_time()
            losses = train_step(stage, engine, batch, MICRO_BATCH, device)
            ended = time.perf_counter()
            used = torch.tensor(time.process_time() - processor)
            summed = deepspeed_engine.total({"loss": losses["answers"], "processor": used})
            rows[name].append(summed | {"seconds": ended - started, **stage.measures})
    if rank() == 0:
        (folder / "measured.json").write_text(json.dumps(_figures({name: each[1:] for name, each in rows.items()})))
    deepspeed_engine.stop()


def _figures(rows: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    rates = {
        by: {name: statistics.median(row["tokens"] / row[by] for row in each) for name, each in rows.items()}
        for by in ("seconds", "processor")
    }
    pairs = list(zip(*(rows[name] for name in ("padded", "packed")), strict=True))
    figures: dict[str, Any] = {f"{name}_tokens_per_s": round(rate) for name, rate in rates["seconds"].items()}
    figures |= {f"{name}_padding": round(statistics.mean(row["padding"] for row in each), 4) for name, each in rows.items()}
    figures["tokens_per_batch"] = round(statistics.mean(row["tokens"] for row in rows["packed"]))
    ratios = {
        name: round(rates[by]["packed"] / rates[by]["padded"], 2)
        for name, by in (("vs_padded", "seconds"), ("vs_padded_cpu", "processor"))
    }
    ratios["loss"] = max(abs(a["loss"] - b["loss"]) / abs(a["loss"]) for a, b in pairs)
    return {"figures": figures, "ratios": ratios}


if __name__ == "__main__":
    _steps(Path(sys.argv[1]), int(sys.argv[2]))
