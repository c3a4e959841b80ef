"""A shard of published conversations, written with their pictures; those that cannot be had are told."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines.exporting.pictures import LostPicture, exported_picture
from pipelines.exporting.shards import place_shard
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from sharding.index import index_bytes
from sharding.layout import index_file, receipt_file, tar_file
from sharding.lines import Lines
from sharding.named_files import NamedFiles, Unreadable, within
from sharding.named_pictures import named_pictures, without_names
from sharding.sample import image_ending, sample_json
from sharding.writer import ShardWriter

SET_BITS = 40  # of a sample's id: the number of its set lies above them, that of its entry below
AT_ONCE = 64  # entries that are read together
NAMED = 20  # entries left out that a receipt names
REASONS = {
    "not_json": "no JSON object",
    "unreadable": "cannot be read",
    "no_picture": "with a picture that cannot be read",
    "not_an_image": "with a file that is no picture",
    "undecodable": "with a picture that cannot be decoded",
    "unencodable": "with a picture that cannot be encoded as export.pictures has it",
}


class _LeftOut(Exception):
    """Why an entry is left out: a key of REASONS, and a line that names what was wrong."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def write_one(item: dict[str, Any], reporter: Reporter, *, out: Storage, pictures: str) -> dict[str, Any]:
    """Writes a shard, its index and its receipt, which it returns."""
    label, counts, lost, read = item["label"], Counter[str](), list[dict[str, Any]](), NamedFiles()
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / tar_file(label)).open("wb") as stream:
            writer = ShardWriter(stream, label)
            for row, entry in _entries(item, reporter):
                try:
                    members = _members(item, row, entry, read, pictures)
                except _LeftOut as fault:
                    counts[fault.reason] += 1
                    lost += [{"entry": row + 1, "reason": str(fault)}][: NAMED - len(lost)]
                else:
                    writer.add(_id(item, row), members)
                    counts.update(conversations=1, pictures=len(members) - 1)
            shard = writer.close()
        (Path(folder) / index_file(label)).write_bytes(index_bytes(writer.rows))
        place_shard(out, Path(folder), shard)
    counts["entries"] = item["end"] - item["first"]
    receipt = {"fingerprint": item["fingerprint"], "shard": asdict(shard), "counts": dict(counts), "lost": lost}
    out.write_json(receipt_file(label), receipt)
    return receipt


def _entries(item: dict[str, Any], reporter: Reporter) -> Iterator[tuple[int, bytes | Exception]]:
    """(row, bytes) of the entries of a shard."""
    lines = Lines(item["annotation"])
    for first in range(item["first"], item["end"], AT_ONCE):
        rows = range(first, min(item["end"], first + AT_ONCE))
        yield from zip(rows, lines.read_many(rows), strict=True)
        reporter(len(rows))


def _members(item: dict[str, Any], row: int, data: bytes | Exception, pictures: NamedFiles, encoding: str) -> dict[str, bytes]:
    """The members of an entry's sample: its pictures, if it has any, and its json."""
    if isinstance(data, Exception):
        raise _LeftOut("unreadable", str(data))
    try:
        entry = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _LeftOut("not_json", str(error)) from None
    if not isinstance(entry, dict):
        raise _LeftOut("not_json", "no object")
    members = dict[str, bytes]()
    for number, name in enumerate(named_pictures(entry), start=1):
        picture = _picture(pictures, within(item["root"], name), encoding)
        members["image" if number == 1 else f"{number}.{image_ending(picture)}"] = picture
    told = {**without_names(entry), "set": item["split"], "entry": row + 1}
    return members | {"json": sample_json(_id(item, row), told)}


def _picture(pictures: NamedFiles, uri: str, encoding: str) -> bytes:
    try:
        return exported_picture(pictures.read(uri), encoding, ())
    except Unreadable as error:
        raise _LeftOut("no_picture", str(error)) from None
    except LostPicture as error:
        raise _LeftOut(str(error), f"{uri} is {REASONS[str(error)]}") from None


def _id(item: dict[str, Any], row: int) -> int:
    return int(item["number"] << SET_BITS | row)
