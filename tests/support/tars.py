"""Tars as other programs write them."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from pipelines.manifest.storage import Storage
from pipelines.shards.indexing import index_tar
from pipelines.shards.tars import named_tars
from sharding import Dataset, read_dataset, summary_bytes
from sharding.layout import SUMMARY, index_file, tar_file

File = tuple[str, bytes]


def tar_bytes(files: Sequence[File], form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of files (name, data), as Python's tarfile writes it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def jpeg(number: int, side: int = 24) -> bytes:
    """A JPEG of one colour and size a number."""
    stream = io.BytesIO()
    Image.new("RGB", (side + number % 7, side), (number * 37 % 256, number * 11 % 256, 90)).save(stream, "JPEG")
    return stream.getvalue()


def img2dataset_tar(path: Path, first: int, count: int) -> None:
    """A tar as img2dataset writes it: keys of nine digits, jpg, json and txt of each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(first, first + count):
        key = f"{number:09d}"
        files += [(f"{key}.jpg", jpeg(number)), (f"{key}.json", b'{"key": "%s"}' % key.encode())]
        files.append((f"{key}.txt", f"caption {number}".encode()))
    path.write_bytes(tar_bytes(files))


def indexed_tars(folder: Path, split: str = "train") -> Dataset:
    """The dataset that the tars below a folder are once they have an index."""
    storage, shards = Storage(str(folder)), []
    for name in named_tars(str(folder)).shards:
        index, _, shard = index_tar(storage, name, (folder / tar_file(name)).stat().st_size, checksums=False)
        storage.write(index_file(name), index)
        shards.append(shard)
    storage.write(SUMMARY, summary_bytes({split: shards}, {"index": {"checksums": False}}))
    return read_dataset(str(folder))
