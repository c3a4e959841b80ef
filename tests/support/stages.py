"""Tiny stages, and a global batch for them that holds all that a loss must mind."""

import json
import tomllib
from pathlib import Path
from typing import Any

import torch

from sharding import Sample, read_dataset
from tests.support.shards import IMAGE, write_dataset
from trainer_bridge.checkpoints.building import fill
from trainer_bridge.checkpoints.model_folders import save_contrastive
from trainer_bridge.data.batch import Batch
from trainer_bridge.data.tokenizer import train_tokenizer
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.stages import Stage, find_stages
from trainer_bridge.stages.settings import Experiment

COMMON = """
[data]
batch = 8
[optimizer]
warmup = 2
steps = 10
image_lr = 1e-3
text_lr = 1e-3
[run]
micro_batch = 8
zero = 1
precision = "fp32"
"""
CONTRASTIVE = f"""
[model]
embedding = 16
pool_heads = 2
[model.image]
image_size = 16
patch = 8
width = 16
depth = 2
heads = 2
mlp = 32
layer_scale = 1.0
[model.text]
vocabulary = 300
length = 16
width = 16
depth = 2
heads = 2
mlp = 32
{COMMON}"""
ONE_RATE = COMMON.replace("image_lr = 1e-3\ntext_lr", "lr")
GENERATIVE = f"""
[model]
queries = 4
cross_heads = 2
pool_heads = 2
{ONE_RATE}"""
CHAT = f"""
[model]
train = "projector+language"
length = 96
[model.language]
vocabulary = 420
width = 16
depth = 1
heads = 2
mlp = 32
{ONE_RATE}"""
CONFIGS = {
    "softmax": CONTRASTIVE,
    "sigmoid": CONTRASTIVE.replace("embedding", 'loss = "sigmoid"\nembedding'),
    "generative": GENERATIVE,
    "chat": CHAT,
    "drawn": CHAT,  # with conversations that are drawn, not stored
    "packed": f"{CHAT}[packing]\ntokens = 128\ntiles = 3\n",
}
CAPTIONS = [
    "a red fox",
    "a green fox in the snow",
    "",
    "blue",
    "a red fox",
    "two gray birds over water",
    "",
    "an old white house",
]


def experiment_of(name: str, **settings: dict[str, Any]) -> Experiment:
    """The experiment of a configuration, with settings of its sections changed."""
    document = tomllib.loads(CONFIGS[name])
    for section, changes in settings.items():
        document[section] = document.get(section, {}) | changes
    return kind_of(name).experiment_type.model_validate(document)


def kind_of(name: str) -> type[Stage]:
    """The stage that a configuration is of."""
    return find_stages()[{"softmax": "contrastive", "sigmoid": "contrastive", "drawn": "chat", "packed": "chat"}.get(name, name)]


def write_start(folder: Path) -> None:
    """Shards, and a stage-1 model to start from, which every rank then reads."""
    words = [caption for caption in CAPTIONS if caption]
    write_dataset(folder, {"train": [[Sample(n, IMAGE % n, text, b"{}") for n, text in enumerate(words)]]})
    for name in ("softmax", "sigmoid"):
        torch.manual_seed(0)
        model = ContrastiveModel(experiment_of(name).model)
        save_contrastive(folder / name, model.config, model.state_dict(), train_tokenizer(words, 300))


def stage_of(name: str, folder: Path, **settings: dict[str, Any]) -> Stage:
    """A stage with the same weights on every rank; `write_start` has filled the folder."""
    start = folder / (name if name == "sigmoid" else "softmax")
    torch.manual_seed(0)
    stage = kind_of(name)(experiment_of(name, **settings), read_dataset(str(folder)), start, folder)
    fill(stage.model, stage.tensors or {}, torch.device("cpu"))
    return stage


def global_batch(drawn: bool = False) -> Batch:
    """Eight samples: two with one caption, two with one picture, one without a caption, one that is broken.

    Conversations are stored, or else `drawn` from the captions beside them.
    """
    count = len(CAPTIONS)
    turns = [[{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": caption}] for caption in CAPTIONS]
    known = {"language": "en", "also": [["de", "ein Fuchs"], ["sv", "en räv"]]}
    metadata = [json.dumps(known if drawn else {"conversations": chat}).encode() for chat in turns]
    pixels = torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    numbers, valid = list(range(count)), torch.arange(count) != count - 2
    return Batch(pixels, CAPTIONS, metadata, numbers, [0, 1, 2, 3, 4, 3, 6, 7], numbers, valid, [])
