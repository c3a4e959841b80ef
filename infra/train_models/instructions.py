"""How fast the small InternVL learns an instruction set: three trainings with other orders, and a card with the losses."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w

from infra.models import INTERNVL
from infra.train_models.alignment import CONFIGS, TREE
from trainer_bridge.launch import trainer_command, trainer_environment

CONFIG, SEEDS = CONFIGS / "chat-instructions-tiny.toml", (0, 1, 2)
CARD = INTERNVL / "instructions.md"
LAST = 10  # steps at the end whose losses are averaged


def instructions(work: Path, card: Path = CARD) -> None:
    """Writes the set, trains once for each seed, and writes the card."""
    data = work / "instructions"
    if not (data / "meta.json").exists():
        _run([sys.executable, "-m", "pipelines.demo_corpus.instructions", "--out", str(data)])
    runs = [train(seed, data / "meta.json", work / f"instructions-{seed}") for seed in SEEDS]
    entries = sum(1 for _ in (data / "train.jsonl").open(encoding="utf-8"))
    rows = "\n".join(_row(seed, run) for seed, run in zip(SEEDS, runs, strict=True))
    padding = statistics.mean(run["padding"] for run in runs)
    card.write_text(
        TEXT.format(date=datetime.now(UTC).date(), entries=entries, rows=rows, padding=padding, steps=runs[0]["steps"], last=LAST)
    )


def _row(seed: int, run: dict[str, Any]) -> str:
    losses = f"{run['before']:.2f} | {run['after']:.2f} | {run['fall']:.0%}"
    return f"| {seed} | {losses} | {run['seconds']:.0f} s | {run['processor']:.0f} s |"


def train(seed: int, data: Path, out: Path) -> dict[str, Any]:
    """One training: answer loss before and after, how far it fell, seconds by the clock and of the processors."""
    experiment = tomllib.loads(CONFIG.read_text())
    experiment["data"]["seed"] = seed
    shutil.rmtree(out, ignore_errors=True)  # a training that goes on would take less time than it says
    out.mkdir(parents=True)
    (out / "experiment.toml").write_text(tomli_w.dumps(experiment))
    command = [*trainer_command("chat", out / "experiment.toml", None, out, INTERNVL), "--data", str(data)]
    spent = _processor(command)
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [step["losses"]["answers"] for step in steps]
    before, after = losses[0], statistics.mean(losses[-LAST:])
    return {
        "before": before,
        "after": after,
        "fall": 1 - after / before,
        "steps": len(steps),
        "seconds": steps[-1]["seconds"],
        "processor": spent,
        "padding": statistics.mean(step["padding"] for step in steps),
    }


def _processor(command: list[str]) -> float:
    """Runs a command; seconds of the processor that it and its children took."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(command: list[str]) -> None:
    subprocess.run(command, env=trainer_environment(), check=True, cwd=TREE)


TEXT = """# The small InternVL learns instructions

`python -m infra.train_models instructions`, {date}: three trainings of {steps} steps of 64 conversations that start from this
folder's model (`trainer_bridge/configs/chat-instructions-tiny.toml`), each in another order, packed, on two CPU processes. The
set is made by `python -m pipelines.demo_corpus.instructions`: {entries} conversations about Tux Paint's stamps, which this model
has seen before, in other words: describe, name, count, yes or no, in German, several in turn, and without a picture.

| seed | answer loss, first step | last {last} steps | fall | by the clock | of the processors |
|---|---|---|---|---|---|
{rows}

Loss is the mean over all learned tokens of a step's conversations, before the step learns from them; {padding:.1%} of the tokens
were padding. Seconds by the clock are those of training, and those of the processors, of both processes together, start and end
too. The pictures are known to the model: this says that stage 3 learns from such files, nothing about pictures that it has not
seen.
"""
