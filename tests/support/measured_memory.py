"""A stage of a size at which the parts of memory can be told apart, and the bytes that two of its training steps hold."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import distributed as dist

from sharding import read_dataset
from tests.support.stages import CONFIGS, experiment_of, kind_of
from trainer_bridge import deepspeed_engine
from trainer_bridge.data.batch import Batch
from trainer_bridge.memory.live import LiveBytes
from trainer_bridge.memory_plan import Part, memory_plan
from trainer_bridge.stages.settings import Experiment
from trainer_bridge.train import train_step

BATCH, SIDE = 16, 64
IMAGE = {"image_size": SIDE, "patch": 8, "width": 64, "depth": 4, "heads": 4, "mlp": 256}
TEXT = {"vocabulary": 300, "length": 32, "width": 64, "depth": 4, "heads": 4, "mlp": 192}
MODELS = {
    "softmax": {"image": {**IMAGE, "layer_scale": 1.0}, "text": TEXT},
    "generative": {"queries": 16, "cross_heads": 4},
    "chat": {"length": 96, "language": {"vocabulary": 420, "width": 64, "depth": 4, "heads": 4, "mlp": 192}},
}
assert MODELS.keys() <= CONFIGS.keys()


def experiment(name: str, sections: Mapping[str, Any] = MappingProxyType({}), **run: object) -> Experiment:
    """The experiment of a stage with these settings of its run, on micro-batches of half the batch, and more `sections`."""
    return experiment_of(name, model=MODELS[name], data={"batch": BATCH}, run={"micro_batch": BATCH // 2, **run}, **sections)


def batch(count: int) -> Batch:
    """Samples whose captions, and conversations, are longer than a model reads."""
    words = [f"{'a red fox in the snow ' * 20}{number}" for number in range(count)]
    turns = [[{"from": "human", "value": "What?"}, {"from": "gpt", "value": text}] for text in words]
    metadata = [json.dumps({"conversations": chat}).encode() for chat in turns]
    pixels = torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8)
    numbers = list(range(count))
    return Batch(pixels, words, metadata, numbers, numbers, numbers, torch.ones(count, dtype=torch.bool), [])


def measured(name: str, settings: Experiment, folder: Path, device: torch.device) -> int:
    """Peak bytes of live tensors while the stage is built and makes two steps."""
    world = dist.get_world_size()
    stage = kind_of(name)(settings, read_dataset(str(folder)), start_of(name, folder), folder)
    samples = batch(BATCH // world)
    gc.collect()
    with LiveBytes() as live:
        engine = deepspeed_engine.initialise(stage.model, stage.parameters(), settings, world, stage.tensors)
        for _ in range(2):
            train_step(stage, engine, samples, settings.run.micro_batch, device)
    engine.destroy()
    return live.peak


def planned(name: str, settings: Experiment, folder: Path, ranks: int) -> list[Part]:
    """The plan of the same stage, but for the loader, which is not there."""
    outline = kind_of(name).outline(settings, start_of(name, folder))
    assert outline is not None
    return [part for part in memory_plan(outline, settings, ranks) if part.name != "loader"]


def start_of(name: str, folder: Path) -> Path | None:
    """The folder that a stage starts from."""
    return None if name == "softmax" else folder / "wide"
