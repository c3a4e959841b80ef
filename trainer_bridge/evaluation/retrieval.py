"""Text→image retrieval: does a caption find its picture among all pictures of a split?"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from sharding.decode import decode_picture
from sharding.index import Dataset
from sharding.reader import ShardReader
from sharding.sample import Sample
from trainer_bridge.data.tokenizer import encode
from trainer_bridge.data.transforms import normalise, whole
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.models.qllama import GenerativeModel

RANKS = (1, 5, 10)
LIMIT = 4000
READ_AT_ONCE = 256


def first_samples(dataset: Dataset, split: str, limit: int = LIMIT) -> list[Sample]:
    """At most `limit` samples from the start of a split."""
    reader = ShardReader(dataset, split)
    places = [(shard, row) for shard, size in enumerate(reader.sizes()) for row in range(size)][:limit]
    return [
        sample
        for start in range(0, len(places), READ_AT_ONCE)
        for sample in reader.read_all(places[start : start + READ_AT_ONCE])
    ]


def retrieval(
    model: ContrastiveModel | GenerativeModel, tokenizer: Tokenizer, dataset: Dataset, split: str, limit: int = LIMIT
) -> dict[str, float]:
    """Recall@1, @5 and @10 (0 … 1) over at most `limit` pairs of a split, and by chance: k over the distinct pictures.

    A caption is right when its own picture is among the k whose features are nearest; captions may share a picture.
    """
    config = model.config if isinstance(model, ContrastiveModel) else model.stage1.config
    samples = first_samples(dataset, split, limit)
    digests = [hashlib.sha256(sample.image).digest() for sample in samples]
    _, first_rows, image_index = np.unique(np.array(digests, dtype="S32"), return_index=True, return_inverse=True)
    size = config.image.image_size
    model.eval()

    def features(captions: Sequence[str]) -> Tensor:
        return model.encode_text(*encode(tokenizer, captions, config.text))

    with torch.inference_mode():
        pixels = torch.stack([torch.from_numpy(whole(decode_picture(samples[i].image, size), size)) for i in first_rows.tolist()])
        images = torch.cat([model.encode_image(normalise(piece)) for piece in pixels.split(256)])
        captions = [sample.text for sample in samples]
        texts = torch.cat([features(captions[i : i + 256]) for i in range(0, len(captions), 256)])
        ranking = (texts @ images.T).argsort(dim=1, descending=True)
        rank = (ranking == torch.from_numpy(image_index)[:, None]).int().argmax(dim=1)
    recall = {f"recall@{k}": (rank < k).float().mean().item() for k in RANKS}
    chance = {f"chance@{k}": k / len(first_rows) for k in RANKS}
    return {"pairs": len(samples), "pictures": len(first_rows), **recall, **chance}
