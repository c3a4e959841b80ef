"""Sizes of models and batches, the experiments that train them, and generated shards."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import trainer_bridge.configs
from infra.compat.settings import read_toml
from sharding import Dataset, Sample, read_dataset, sample_json, summary_bytes, write_shard
from sharding.layout import SUMMARY, shard_name
from trainer_bridge.models.contrastive import ContrastiveConfig
from trainer_bridge.models.internvit import InternViTConfig
from trainer_bridge.models.internvl import LanguageConfig
from trainer_bridge.models.qllama import GenerativeConfig
from trainer_bridge.models.text_tower import TextConfig
from trainer_bridge.stages import find_stages
from trainer_bridge.stages.settings import Experiment

PUBLISHED = {"contrastive": "contrastive-internvl.toml", "generative": "generative-internvl.toml", "chat": "chat-small.toml"}
WORDS = ["a", "red", "fox", "in", "the", "snow", "photo", "of", "wooden", "table", "with", "chairs", "view", "mountain", "lake"]
SHARDS, DISTINCT = 4, 64  # shards of the data set; different pictures in it


@dataclass(frozen=True)
class Workload:
    """What is measured, and how long.

    image, text, queries, language  sizes of stages 1 to 3
    micro_batch, pieces             samples of a forward pass; forward passes of an optimizer step
    warm, timed                     optimizer steps before the clock starts, and on it
    samples                         in the shards
    clip                            the open_clip model that scores: a name, or the sizes of one
    captioner                       the language model of the InternVL that captions, with the image tower of stage 1
    scored, captioned               pictures scored, and batches captioned
    large_batch                     pictures that are captioned at once, besides the default number
    """

    image: InternViTConfig
    text: TextConfig
    queries: GenerativeConfig
    language: LanguageConfig
    micro_batch: int
    pieces: int
    warm: int
    timed: int
    samples: int
    clip: str | dict[str, Any]
    captioner: LanguageConfig
    scored: int
    captioned: int
    large_batch: int

    @property
    def stage1(self) -> ContrastiveConfig:
        """The model of stage 1."""
        return ContrastiveConfig(image=self.image, text=self.text)

    def experiment(self, stage: str, pieces: int, *, compiled: bool, zero: int = 1) -> Experiment:
        """The published experiment of a stage, with these sizes and no masking of tokens."""
        document = read_toml(str(Path(trainer_bridge.configs.__file__).parent / PUBLISHED[stage]), "--config")
        document.pop("phase", None)
        document["data"] |= {"batch": self.micro_batch * pieces, "drop_tokens": 0.0}
        document["run"] |= {"micro_batch": self.micro_batch, "precision": "bf16", "compile": compiled, "zero": zero}
        document["model"] = {
            "contrastive": self.stage1.model_dump(),
            "generative": self.queries.model_dump(),
            "chat": {"train": "projector+language", "language": self.language.model_dump()},
        }[stage]
        return find_stages()[stage].experiment_type.model_validate(document)


# InternViT-300M-448px's sizes, a LLaMA of 1.2 billion weights as text tower and as language model, CLIP ViT-B/32, InternVL3-1B's.
FULL = Workload(
    image=InternViTConfig(image_size=448, width=1024, depth=24, heads=16, mlp=4096),
    text=TextConfig(vocabulary=32000, length=80, width=2048, depth=22, heads=16, mlp=5632),
    queries=GenerativeConfig(queries=96, cross_every=2, cross_heads=16, pool_heads=16),
    language=LanguageConfig(vocabulary=32000, width=2048, depth=22, heads=16, mlp=5632),
    micro_batch=32,
    pieces=8,
    warm=2,
    timed=3,
    samples=2048,
    clip="ViT-L-14",
    captioner=LanguageConfig(vocabulary=151674, width=896, depth=24, heads=14, mlp=4864),
    scored=8192,
    captioned=4,
    large_batch=256,
)
TINY = Workload(
    image=InternViTConfig(image_size=32, patch=8, width=32, depth=2, heads=2, mlp=64),
    text=TextConfig(vocabulary=320, length=16, width=32, depth=2, heads=2, mlp=64),
    queries=GenerativeConfig(queries=4, cross_heads=2, pool_heads=2),
    language=LanguageConfig(vocabulary=420, width=32, depth=2, heads=2, mlp=64),
    micro_batch=2,
    pieces=2,
    warm=1,
    timed=1,
    samples=16,
    clip={
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    },
    captioner=LanguageConfig(vocabulary=600, width=32, depth=1, heads=2, mlp=64),
    scored=8,
    captioned=1,
    large_batch=2,
)


def write_shards(folder: Path, workload: Workload) -> Dataset:
    """A training split of JPEGs a fifth larger than the models', with captions that fill the text tower's length."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    pictures = [picture(rng, workload.image.image_size * 6 // 5) for _ in range(min(DISTINCT, workload.samples))]

    def samples(shard: int) -> Iterator[Sample]:
        for number in range(shard, workload.samples, SHARDS):
            caption = " ".join(rng.choice(WORDS, workload.text.length))
            yield Sample(number, pictures[number % len(pictures)], caption, sample_json(number, {"language": "en"}))

    shards = [write_shard(folder, shard_name("train", shard), samples(shard)) for shard in range(SHARDS)]
    (folder / SUMMARY).write_bytes(summary_bytes({"train": shards}, {}))
    return read_dataset(str(folder))


def picture(rng: np.random.Generator, side: int) -> bytes:
    """A square JPEG with the detail of a photograph: smooth shapes and noise."""
    shapes = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    noise = rng.normal(0, 8, (side, side, 1))
    data = io.BytesIO()
    Image.fromarray((np.asarray(shapes) + noise).clip(0, 255).astype(np.uint8)).save(data, "JPEG", quality=85)
    return data.getvalue()
