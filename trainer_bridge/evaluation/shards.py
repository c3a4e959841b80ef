"""An evaluation set in the shards of a split: pictures that several samples share are one, with all their texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch

from infra.compat.errors import RequestError
from sharding.columns import ReadError
from sharding.index import Dataset, read_dataset, read_index
from sharding.layout import SUMMARY, tar_file
from sharding.reader import ShardReader
from sharding.sample import Sample, metadata_of
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.shares import gather_rows, share_of

READ_AT_ONCE = 256
MEMBER_NAMES = {"text": "a caption (.txt)", "json": "metadata (.json)"}
METADATA = ("key", "language", "noun", "also")  # of the json member
CLASS_MEMBER, CLASS_KEYS = "cls", ("cls", "label", "class")  # a member of its own as webdataset has it, or in the json member


def shard_set(dataset: Dataset, split: str, samples: int, device: torch.device, by_language: bool = False) -> EvaluationSet:
    """The set of the first `samples` samples of a split, all where that is 0. Every rank calls it, and reads its share."""
    reader = ShardReader(dataset, split)
    places = list(islice(((shard, row) for shard, size in enumerate(reader.sizes()) for row in range(size)), samples or None))
    share, own_rows = share_of(len(places)), []
    for numbers in share.batches(READ_AT_ONCE):
        own_rows += [_row(sample) for sample in reader.read_many([places[number] for number in numbers])]
    rows = gather_rows(own_rows, device)[: len(places)]
    first: dict[str, int] = {}  # of each picture the place of its first sample
    for place, row in enumerate(rows):
        if row:
            first.setdefault(row["picture"], place)
    numbers_of = {picture: number for number, picture in enumerate(first)}
    captioned = [(row["picture"], text, metadata) for row in rows if row for text, metadata in row["texts"]]
    picture_places, labels = list(first.values()), [rows[place]["label"] for place in first.values()]

    def read(numbers: Sequence[int]) -> list[bytes | Exception]:
        of_pictures = reader.read_many([places[picture_places[number]] for number in numbers])
        return [sample.image if isinstance(sample, Sample) else sample for sample in of_pictures]

    return EvaluationSet(
        pictures=len(first),
        read=read,
        texts=[text for _, text, _ in captioned],
        image_index=np.array([numbers_of[picture] for picture, _, _ in captioned], np.int64),
        metadata=[metadata for _, _, metadata in captioned],
        labels=labels if any(labels) else (),
        by_language=by_language,
        unread=sum(not row for row in rows),
    )


def open_shards(uri: str) -> Dataset:
    """The shards at a URI; RequestError in one line when there are none."""
    try:
        return read_dataset(uri)
    except FileNotFoundError:
        raise RequestError(f"{uri} holds no {SUMMARY}; name shards that `pairmill export` or `pairmill index` wrote") from None


def require_members(dataset: Dataset, split: str, members: Sequence[str], why: str) -> None:
    """RequestError, ending with `why`, when no sample of the first shard of a split has one of these members."""
    shards = [shard for shard in dataset.shards(split) if shard.samples]
    if not shards:
        raise RequestError(f"{dataset.uri} has no samples in its split {split}; export or index it again")
    index = read_index(dataset.uri, shards[0].name)
    if not any((index.lengths[member] > 0).any() for member in members if member in index.lengths):
        missing = " or ".join(MEMBER_NAMES.get(member, member) for member in members)
        raise RequestError(f"no sample of {dataset.uri}/{tar_file(shards[0].name)} has {missing}, {why}")


def _row(sample: Sample | ReadError) -> dict[str, Any]:
    """What all ranks must know of a sample; nothing of one that cannot be read."""
    if isinstance(sample, ReadError):
        return {}
    metadata = metadata_of(sample.json)
    label = sample.others.get(CLASS_MEMBER, b"").decode(errors="replace").strip()
    label = label or next((str(metadata[key]) for key in CLASS_KEYS if key in metadata), "")
    texts = [(pair.text.strip(), _kept(metadata_of(pair.json))) for pair in sample.pairs() if pair.text.strip()]
    return {"picture": hashlib.sha256(sample.image).hexdigest()[:32], "texts": texts, "label": label}


def _kept(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: metadata[key] for key in METADATA if key in metadata}
