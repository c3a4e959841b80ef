"""Starts the trainer on the cores of one machine: two gloo processes under torchrun."""

from __future__ import annotations

import sys
from pathlib import Path

from infra.compat.children import child_environment


def trainer_command(stage: str, config: Path, shards: Path | None, out: Path, start: Path | None = None) -> list[str]:
    """The command that trains a stage; `start` is the model folder it starts from. Without shards it needs --data beside."""
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
        "trainer_bridge.train",
    ]
    arguments = ["--stage", stage, "--config", str(config), *(["--shards", str(shards)] if shards else []), "--out", str(out)]
    return [*launcher, *arguments, *(["--from", str(start)] if start else [])]


def trainer_environment() -> dict[str, str]:
    """The environment of this process, with one thread for each rank and without warnings."""
    quiet = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return child_environment() | quiet
