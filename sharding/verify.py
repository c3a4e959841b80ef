"""Checks a dataset against its summary: are all shards there, with the bytes that were written?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from infra.compat.files import file_system
from sharding.index import read_dataset
from sharding.layout import tar_file


def faults(uri: str) -> Iterator[tuple[str, str]]:
    """(shard, fault) for every shard that is missing or whose sha256 differs from the summary's."""
    dataset = read_dataset(uri)
    fs, path = file_system(dataset.uri)
    for shards in dataset.splits.values():
        for shard in shards:
            try:
                with fs.open(f"{path}/{tar_file(shard.name)}", "rb") as handle:
                    sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
            except FileNotFoundError:
                yield shard.name, "missing"
                continue
            if sha256 != shard.sha256:
                yield shard.name, f"sha256 is {sha256}, was {shard.sha256}"
