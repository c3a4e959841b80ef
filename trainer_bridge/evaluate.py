"""Retrieval on the held-out split: does a caption find its picture among all held-out pictures?

`python -m trainer_bridge.evaluate --checkpoint DIR --shards URI` prints text→image recall@1, @5, @10 beside chance, as JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from sharding.index import Dataset, read_dataset
from sharding.reader import ShardReader
from trainer_bridge.checkpoint import load_model
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.tokenizer import encode
from trainer_bridge.transforms import decode, normalise, whole

RANKS = (1, 5, 10)


def retrieval(model: ContrastiveModel, tokenizer: Tokenizer, dataset: Dataset, split: str, limit: int = 4000) -> dict[str, float]:
    """Text→image recall over at most `limit` pairs of a split. Captions may share a picture: chance is k over the pictures."""
    reader = ShardReader(dataset, split)
    places = [(shard, row) for shard, size in enumerate(reader.sizes()) for row in range(size)][:limit]
    samples = [reader.read(*place) for place in places]
    digests = [hashlib.sha256(sample.image).digest() for sample in samples]
    _, first, owner = np.unique(np.array(digests, dtype="S32"), return_index=True, return_inverse=True)
    size = model.config.image.image_size
    model.eval()
    with torch.inference_mode():
        pixels = torch.stack([torch.from_numpy(whole(decode(samples[i].image, size), size)) for i in first.tolist()])
        images = torch.cat([model.encode_image(normalise(piece)) for piece in pixels.split(256)])
        captions = [sample.text for sample in samples]
        texts = torch.cat([_features(model, tokenizer, captions[i : i + 256]) for i in range(0, len(captions), 256)])
        right = (texts @ images.T).argsort(dim=1, descending=True) == torch.from_numpy(owner)[:, None]
        place = right.int().argmax(dim=1)
    recall = {f"recall@{k}": (place < k).float().mean().item() for k in RANKS}
    chance = {f"chance@{k}": k / len(first) for k in RANKS}
    return {"pairs": len(samples), "pictures": len(first), **recall, **chance}


def _features(model: ContrastiveModel, tokenizer: Tokenizer, captions: Sequence[str]) -> Tensor:
    return model.encode_text(*encode(tokenizer, captions, model.config.text.length))


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluates a saved model."""
    parser = argparse.ArgumentParser(prog="trainer_bridge.evaluate", description=__doc__)
    parser.add_argument("--checkpoint", required=True, type=Path, help="a folder that train wrote")
    parser.add_argument("--shards", required=True, help="the exported shards")
    parser.add_argument("--split", default="heldout")
    options = parser.parse_args(argv)
    model, tokenizer = load_model(options.checkpoint)
    result = retrieval(model, tokenizer, read_dataset(options.shards), options.split)
    sys.stdout.write(json.dumps(result, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
