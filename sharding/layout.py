"""What the files of a dataset are called; nothing else spells these names.

dataset.json                   splits → shards: name, samples, bytes, sha256
train-000000.tar               the samples of a shard
train-000000.index.parquet     where each sample lies in the tar
receipts/train-000000.json     what an export wrote the shard from
"""

from __future__ import annotations

import re

SUMMARY = "dataset.json"
SHARD_NAME = re.compile(r"(?P<split>.+)-\d{6,}")


def shard_name(split: str, number: int) -> str:
    """The name of a split's shard, without an ending: `train-000000`."""
    return f"{split}-{number:06d}"


def split_of(name: str) -> str | None:
    """The split that a shard of this name belongs to; None when no shard is called so."""
    match = SHARD_NAME.fullmatch(name)
    return match["split"] if match else None


def tar_file(shard: str) -> str:
    """The file that holds a shard's samples."""
    return f"{shard}.tar"


def index_file(shard: str) -> str:
    """The file that holds a shard's index."""
    return f"{shard}.index.parquet"


def receipt_file(shard: str) -> str:
    """The file that says what a shard was written from."""
    return f"receipts/{shard}.json"


def shard_of(file: str) -> str | None:
    """The shard whose tar or index a file is called like; None for any other name."""
    for file_of in (tar_file, index_file):
        before, after = file_of("*").split("*")
        name = file.removeprefix(before).removesuffix(after)
        if file == file_of(name) and split_of(name) is not None:
            return name
    return None
