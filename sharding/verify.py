"""Does a dataset still hold what was written: sizes and checksums of all shards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import fsspec

from sharding.index import read_dataset


def faults(uri: str) -> Iterator[tuple[str, str]]:
    """(shard, what is wrong with it) for every shard that is missing or whose bytes differ from the summary's checksum."""
    dataset = read_dataset(uri)
    fs, path = fsspec.core.url_to_fs(dataset.uri)
    for shards in dataset.splits.values():
        for shard in shards:
            try:
                with fs.open(f"{path}/{shard.name}.tar", "rb") as handle:
                    found = hashlib.file_digest(handle, "sha256").hexdigest()
            except FileNotFoundError:
                yield shard.name, "missing"
                continue
            if found != shard.sha256:
                yield shard.name, f"sha256 is {found}, was {shard.sha256}"
