"""Checks shards: the bytes that the summary records, the places that the index says, and samples that can be decoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from infra.compat.errors import RequestError
from infra.compat.files import file_system
from sharding.foreign import Span, samples_of
from sharding.index import Dataset, Index, Shard, read_dataset, read_index
from sharding.layout import index_file, tar_file
from sharding.ranges import Range, RangeReader, range_reader
from sharding.tar_headers import REMOTE_WINDOW, TarMember, Window, read_members

AT_ONCE = 64  # samples in memory, where all are read


class Fault(NamedTuple):
    """What is wrong with a sample, by its key in the tar, or with a whole shard (`sample` is "")."""

    shard: str
    sample: str
    what: str


# (index, row, member → bytes) → what is wrong with the sample, "" where nothing is.
Check = Callable[[Index, int, Mapping[str, bytes]], str]


def faults(uri: str) -> Iterator[Fault]:
    """Every fault of the tars and indexes of a dataset; nothing is decoded."""
    dataset = read_dataset(uri)
    for shard in dataset.every_shard():
        yield from shard_faults(dataset, shard)


def shard_faults(dataset: Dataset, shard: Shard, checks: Sequence[Check] = ()) -> list[Fault]:
    """The faults of a shard; with `checks` every sample is read and given to each."""
    fs, folder = file_system(dataset.tars)
    path = f"{folder}/{tar_file(shard.name)}"
    try:
        size = int(fs.info(path)["size"])
    except FileNotFoundError:
        return [Fault(shard.name, "", "its tar is missing")]
    problems = [Fault(shard.name, "", f"has {size:,} bytes, not {shard.bytes:,}")] if size != shard.bytes else []
    with fs.open(path, "rb", cache_type="none") as handle:
        window = Window(handle, size, REMOTE_WINDOW, hashed=bool(shard.sha256))
        contents, sha256 = read_members(window), window.sha256()
    if sha256 != shard.sha256:
        problems.append(Fault(shard.name, "", f"sha256 is {sha256}, was {shard.sha256}"))
    problems += [Fault(shard.name, "", what) for what in contents.faults]
    try:
        index = read_index(dataset.uri, shard.name)
    except FileNotFoundError:
        return [*problems, Fault(shard.name, "", f"its index {index_file(shard.name)} is missing")]
    except RequestError as error:
        return [*problems, Fault(shard.name, "", str(error))]
    if len(index) != shard.samples:
        problems.append(Fault(shard.name, "", f"its index has {len(index):,} samples, not {shard.samples:,}"))
    problems += _misplaced(shard.name, index, contents.members)
    if checks:
        problems += _faulty_samples(shard.name, index, range_reader(fs, 1), path, size, checks)
    return problems


def undecodable(index: Index, row: int, members: Mapping[str, bytes]) -> str:
    """A `Check`: the picture is decoded, text must be UTF-8 and json JSON."""
    from sharding.decode import decode_picture

    decoders: dict[str, Callable[[bytes], Any]] = {"image": decode_picture, "text": bytes.decode, "json": json.loads}
    wrong = []
    for member, decode in decoders.items():
        try:
            if member in members:
                decode(members[member])
        except (ValueError, RecursionError) as error:
            wrong.append(f"{member} cannot be decoded: {error}")
    return "; ".join(wrong)


def _misplaced(shard: str, index: Index, members: Sequence[TarMember]) -> Iterator[Fault]:
    """Where the index and the headers of the tar differ."""
    in_tar = {row["key"]: row for row in samples_of(shard, members).rows}
    for number in range(len(index)):
        key, spans = index.key(number), index.spans(number)
        row = in_tar.pop(key, None)
        if row is None:
            yield Fault(shard, key, "is in the index, not in the tar")
        elif row["sample_id"] != index.sample_ids[number] and not key.startswith(f"{index.sample_ids[number]:016x}"):
            yield Fault(shard, key, f"has the id {index.sample_ids[number]} in the index, not {row['sample_id']}")
        elif (places := _places(row)) != spans:
            wrong = sorted(member for member in {*places, *spans} if places.get(member) != spans.get(member))
            yield Fault(shard, key, f"the index says other places of {', '.join(wrong)} than the tar")
    for key in in_tar:
        yield Fault(shard, key, "is in the tar, not in the index")


def _places(row: Mapping[str, Any]) -> dict[str, Span]:
    names = [name.removesuffix("_offset") for name in row if name.endswith("_offset")]
    return {name: (row[f"{name}_offset"], row[f"{name}_length"]) for name in names}


def _faulty_samples(
    shard: str, index: Index, reader: RangeReader, tar: str, size: int, checks: Sequence[Check]
) -> Iterator[Fault]:
    """What `checks` say of each sample, of the members that lie within the tar's bytes."""
    for first in range(0, len(index), AT_ONCE):
        rows = range(len(index))[first : first + AT_ONCE]
        spans = [
            {member: Range(tar, offset, offset + length) for member, (offset, length) in index.spans(row).items()} for row in rows
        ]
        spans = [{member: at for member, at in own.items() if 0 <= at.start <= at.end <= size} for own in spans]
        data = iter(reader.read([at for own in spans for at in own.values()]))
        for row, own in zip(rows, spans, strict=True):
            read = {member: next(data) for member in own}
            members = {member: piece for member, piece in read.items() if isinstance(piece, bytes)}
            lost = [f"{member} cannot be read: {piece}" for member, piece in read.items() if isinstance(piece, Exception)]
            for what in filter(None, [*lost, *(check(index, row, members) for check in checks)]):
                yield Fault(shard, index.key(row), what)
