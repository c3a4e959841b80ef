"""Tars that others wrote as shards of ours: which files of a tar are a sample, and what its members are called.

As in webdataset, a file's key is its name up to the first dot behind the last slash, folders included, and what follows is its
ending, whatever its case. Unlike there, files of one key are one sample wherever they lie in the tar, as an index needs no order,
and hidden files (`._a.jpg`) are none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xxhash

from sharding.layout import split_of
from sharding.sample import MEMBERS
from sharding.tar_headers import TarMember, counted

NAME = re.compile(r"(?P<key>(?:.*/)?[^./]+)\.(?P<ending>[^/]+)", re.DOTALL)
OUR_KEY = re.compile(r"[0-9a-f]{16}")
IMAGES = frozenset(
    (
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "webp",
        "gif",
        "bmp",
        "tif",
        "tiff",
        "avif",
        "heic",
        "heif",
        "jxl",
        "jp2",
        "img",
        "image",
    )
)
TEXTS = ("txt", "text", "caption")  # the first that a sample has is its text
MOST_ENDINGS = 64  # each is two columns of the index; names with dots in them would give thousands
LONGEST_ENDING = 64  # bytes; with a key of ours it fits the header of a tar

Span = tuple[int, int]


@dataclass
class Samples:
    """The samples of a tar, as rows of its index in the order of their first files.

    faults     what is lost or doubtful, in words
    scattered  how many samples have files of others between their own: webdataset would take them for several
    ignored    how many files are no sample's, as their names have no ending
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    scattered: int = 0
    ignored: int = 0


def samples_of(shard: str, members: Sequence[TarMember]) -> Samples:
    """The samples that the files of a shard's tar make; of files of one name the last counts, as when a tar is unpacked."""
    samples, endings = Samples(), dict[str, dict[str, Span]]()
    scattered, doubled, beyond, last = set[str](), list[str](), set[str](), ""
    known = set[str]()
    for name, offset, length in members:
        match = NAME.fullmatch(name)
        if match is None:
            samples.ignored += 1
            continue
        key, ending = match["key"], match["ending"].lower()
        if ending not in known and (len(known) == MOST_ENDINGS or len(ending.encode()) > LONGEST_ENDING):
            beyond.add(ending)
            continue
        known.add(ending)
        if key in endings and key != last:
            scattered.add(key)
        if ending in endings.setdefault(key, {}):
            doubled.append(name)
        endings[key][ending] = (offset, length)
        last = key
    samples.scattered = len(scattered)
    samples.rows = [_row(shard, key, members_of(spans)) for key, spans in endings.items()]
    if doubled:
        samples.faults.append(f"{counted(doubled, 'name')} several times: of each the last file is used")
    if beyond:
        samples.faults.append(f"{counted(sorted(beyond), 'ending')} left out: names have too many or too long endings")
    samples.faults += _missing(samples.rows) + _repeated_ids(samples.rows)
    return samples


def members_of(spans: Mapping[str, Span]) -> dict[str, Span]:
    """Ending → place as member → place: the first image is `image`, `.txt` or else `.caption` is `text`, others keep theirs."""
    image = next((ending for ending in spans if ending in IMAGES), None)
    text = next((ending for ending in TEXTS if ending in spans), None)
    names: dict[str | None, str] = {**{member: f"{member}.2" for member in MEMBERS}, "json": "json", image: "image", text: "text"}
    return {names.get(ending, ending): span for ending, span in spans.items()}


def sample_id_of(shard: str, key: str) -> int:
    """A uint64 for a key of a shard: the number that our keys are in shards named as ours are, of others a hash of both.

    Others may count in 16 digits from 0 in each tar.
    """
    is_ours = OUR_KEY.fullmatch(key) and split_of(shard.rpartition("/")[2]) is not None
    return int(key, 16) if is_ours else xxhash.xxh3_64_intdigest(f"{shard}\0{key}".encode())


def _row(shard: str, key: str, members: Mapping[str, Span]) -> dict[str, Any]:
    row: dict[str, Any] = {"sample_id": sample_id_of(shard, key), "key": key}
    for member, (offset, length) in members.items():
        row[f"{member}_offset"], row[f"{member}_length"] = offset, length
    return row


def _missing(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Samples that lack a member which others of the tar have: of image, text and json, as other endings may be optional."""
    faults = []
    for member in MEMBERS:
        without = [row["key"] for row in rows if f"{member}_offset" not in row]
        if without and (len(without) < len(rows) or member == "image"):
            faults.append(f"{counted(without, 'sample')} without {member}")
    return faults


def _repeated_ids(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    keys: dict[int, list[str]] = {}
    for row in rows:
        keys.setdefault(row["sample_id"], []).append(row["key"])
    return [f"{' and '.join(same)} have one sample id, {number}" for number, same in keys.items() if len(same) > 1]
