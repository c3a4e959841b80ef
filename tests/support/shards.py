"""Small datasets of shards."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from sharding import Dataset, Sample, read_dataset, summary_bytes, write_shard
from sharding.layout import SUMMARY, shard_name

IMAGE = b"\xff\xd8\xff image %d"  # begins as a JPEG does


def write_dataset(folder: Path, splits: Mapping[str, Sequence[Sequence[Sample]]]) -> Dataset:
    """The dataset in `folder` with these samples, by split and shard."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        split: [write_shard(folder, shard_name(split, number), samples) for number, samples in enumerate(shards)]
        for split, shards in splits.items()
    }
    (folder / SUMMARY).write_bytes(summary_bytes(written, {}))
    return read_dataset(str(folder))


def numbered_dataset(folder: Path, sizes: Sequence[int]) -> Dataset:
    """Training shards of these sizes, whose samples are numbered through: image IMAGE % 0, text "caption 0", json b"{}"."""
    numbers = iter(range(sum(sizes)))
    shards = [[Sample(n, IMAGE % n, f"caption {n}", b"{}") for n in islice(numbers, size)] for size in sizes]
    return write_dataset(folder, {"train": shards})
