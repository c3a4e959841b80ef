"""Prints the memory plan before a training starts, and refuses one that does not fit."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer_bridge.deepspeed_engine import rank_device
from trainer_bridge.memory.devices import device_bytes, parse_size
from trainer_bridge.memory.heap import WITHOUT_CACHES, has_no_caches, heap_bytes
from trainer_bridge.memory_plan import Part, describe, memory_plan, require_fit
from trainer_bridge.ranks import rank_environment
from trainer_bridge.stages import Stage
from trainer_bridge.stages.chat_settings import ConversationExperiment
from trainer_bridge.stages.settings import Experiment


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a plan without a training."""
    group = parser.add_argument_group("plan", "print how much memory a rank needs, and start nothing; needs no shards")
    group.add_argument("--plan", action="store_true", help="--from may be the experiment (TOML) of the stage before")
    group.add_argument("--ranks", type=int, default=1, help="GPUs, or processes, to plan for")
    group.add_argument("--device-memory", metavar="SIZE", default="", help="refuse a plan that needs more, such as 80GiB")


def plan_only(stage: type[Stage], experiment: Experiment, options: argparse.Namespace) -> None:
    """What --plan does: RequestError when it does not fit, ValueError or OSError when it cannot be made."""
    available = parse_size(options.device_memory) if options.device_memory else None
    _report(stage, experiment, options.start, options.ranks, available, on_gpu=True)


def plan_ahead(stage: type[Stage], experiment: Experiment, start: Path | None) -> None:
    """The plan of the training that this process begins; rank 0 makes it for all, as they are alike. Errors as above."""
    environment = rank_environment(os.environ)
    if environment["RANK"] == "0":
        device, ranks = rank_device(), int(environment["WORLD_SIZE"])
        available = device_bytes(device, int(environment["LOCAL_WORLD_SIZE"]))
        _report(stage, experiment, start, ranks, available, on_gpu=device.type == "cuda")


def _report(stage: type[Stage], experiment: Any, start: Path | None, ranks: int, available: int | None, *, on_gpu: bool) -> None:
    outline = stage.outline(experiment, start)
    if outline is None:
        sys.stderr.write("memory     not planned: the stage has no outline\n")
        return
    parts = memory_plan(outline, experiment, ranks)
    if not on_gpu and isinstance(experiment, ConversationExperiment):
        parts.append(_heap(parts))
    sys.stderr.write(describe(parts, ranks))
    if available is not None:
        require_fit(parts, available, on_gpu)


def _heap(parts: Sequence[Part]) -> Part:
    """What a process on a CPU holds beside the tensors of `parts`."""
    activations = next(part.size for part in parts if part.name == "activations")
    smaller = "set packing.tokens, or run.micro_batch, lower"
    remedy = smaller if has_no_caches(os.environ) else f"start it with {WITHOUT_CACHES}, or {smaller}"
    return Part("heap", heap_bytes(activations, os.environ), remedy, on_host=True)
