"""Where the samples lie: an index per shard, and one summary of the dataset with checksums."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from infra.compat.errors import RequestError
from infra.compat.files import open_file
from sharding.layout import SUMMARY, index_file
from sharding.sample import MEMBERS

ALSO = "also"  # ids of samples whose captions another sample holds
SHUFFLED = "shuffled"  # in what a summary says of its shards
INDEX = pa.schema(
    [
        ("sample_id", pa.uint64()),
        *((f"{member}_{column}", pa.int64()) for member in MEMBERS for column in ("offset", "length")),
    ]
)


@dataclass(frozen=True)
class Shard:
    """A finished shard; `name` has no ending, `bytes` and `sha256` are those of its tar ("" where nobody computed it)."""

    name: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Index:
    """Where the members of a shard's N samples lie in its tar, in the order of the tar.

    sample_ids  uint64[N]
    offsets     member → int64[N], bytes from the start of the tar
    lengths     member → int64[N], bytes; -1 where a sample has no such member
    keys        string[N], what the names of its files begin with; None, or NULL, where that is the id in 16 hex digits
    """

    sample_ids: np.ndarray
    offsets: dict[str, np.ndarray]
    lengths: dict[str, np.ndarray]
    keys: pa.ChunkedArray | None = None

    def __len__(self) -> int:
        return len(self.sample_ids)

    def key(self, row: int) -> str:
        """What the names of the files of the sample at a row begin with, in the tar."""
        key = None if self.keys is None else self.keys[row].as_py()
        return f"{self.sample_ids[row]:016x}" if key is None else str(key)

    def repeats(self) -> np.ndarray:
        """The number of each sample among the copies of it that a dataset of ours has: int64[N], 0 of the first."""
        keys = [] if self.keys is None else self.keys.to_pylist()
        repeats = np.zeros(len(self), np.int64)
        for row, key in enumerate(keys):
            own, dash, number = (key or "").partition("-")
            if dash and number.isdecimal() and own == f"{self.sample_ids[row]:016x}":
                repeats[row] = int(number)
        return repeats

    def outside(self, size: int) -> np.ndarray:
        """Whether each sample has a member outside of a tar of `size` bytes, or none at all: bool[N]."""
        offsets, lengths = (np.stack([*columns.values()]) for columns in (self.offsets, self.lengths))
        is_there, beyond = lengths >= 0, (offsets < 0) | (lengths > size) | (offsets > size - lengths)
        return np.asarray((is_there & beyond).any(axis=0) | ~is_there.any(axis=0))

    def spans(self, row: int) -> dict[str, tuple[int, int]]:
        """Member → (offset, length) of each that the sample at a row has."""
        return {
            member: (int(offsets[row]), int(self.lengths[member][row]))
            for member, offsets in self.offsets.items()
            if self.lengths[member][row] >= 0
        }


@dataclass(frozen=True)
class Dataset:
    """A folder of shards, by split; `tars` is where their tars lie, another folder where those could not be written beside.

    `about` is what the summary says of how they were made.
    """

    uri: str
    splits: dict[str, list[Shard]]
    tars: str
    about: Mapping[str, Any]

    @property
    def is_shuffled(self) -> bool:
        """Whether its shards say that they were written in random order, as those of `export` and `reshard` do."""
        return self.about.get(SHUFFLED) is True

    def every_shard(self) -> list[Shard]:
        """The shards of all splits."""
        return [shard for shards in self.splits.values() for shard in shards]

    def shards(self, split: str) -> list[Shard]:
        """The shards of a split; ValueError names those there are."""
        if split not in self.splits:
            raise ValueError(f"{self.uri} has no split {split!r}; it has {', '.join(sorted(self.splits)) or 'none'}")
        return self.splits[split]


def summary_bytes(splits: Mapping[str, Sequence[Shard]], about: Mapping[str, Any], tars: str = "") -> bytes:
    """The dataset's summary as JSON; `about` records what it was written from, `tars` where the tars lie if not beside it."""
    document = {
        "about": about,
        "splits": {split: [asdict(shard) for shard in shards] for split, shards in splits.items()},
        **({"tars": tars} if tars else {}),
    }
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def read_dataset(uri: str) -> Dataset:
    """The dataset at `uri`, a folder or any fsspec URI; FileNotFoundError when there is no summary."""
    uri = uri.rstrip("/")
    with open_file(f"{uri}/{SUMMARY}") as handle:
        try:
            document = json.loads(handle.read())
            splits = {split: [_shard(shard) for shard in shards] for split, shards in document["splits"].items()}
            tars, about = document.get("tars", uri), document.get("about", {})
            if not (isinstance(tars, str) and isinstance(about, dict)):
                raise TypeError("tars is no text, or about no object")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RequestError(f"{uri}/{SUMMARY} is no summary of shards ({error}); export or index them again") from None
    return Dataset(uri, splits, tars, about)


def _shard(document: Mapping[str, Any]) -> Shard:
    """A shard's record; TypeError or ValueError where it is none."""
    shard = Shard(**document)
    kinds = {"name": str, "samples": int, "bytes": int, "sha256": str}
    if not all(isinstance(getattr(shard, name), kind) for name, kind in kinds.items()) or min(shard.samples, shard.bytes) < 0:
        raise ValueError(f"{document} is no shard")
    return shard


def index_bytes(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A shard's index as Parquet: a row per sample in the order of the tar.

    Its columns are those of INDEX, `key` and `also` where rows have them, and the places of other members, ordered by name.
    """
    names = set[str]().union(*rows)
    optional = [pa.field("key", pa.string()), pa.field(ALSO, pa.list_(pa.uint64()))]
    others = [pa.field(name, pa.int64()) for name in sorted(names - {"key", ALSO, *INDEX.names})]
    schema = pa.schema([INDEX.field(0), *(each for each in optional if each.name in names), *list(INDEX)[1:], *others])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink, compression="zstd", use_dictionary=False)
    return sink.getvalue()


def read_index(uri: str, shard: str) -> Index:
    """A shard's index, each pair of columns `<member>_offset`, `<member>_length` a member; RequestError when it is broken."""
    path = f"{uri}/{index_file(shard)}"
    with open_file(path) as handle:
        data = handle.read()
    try:
        # From memory and by ParquetFile, which starts no thread: where one runs, as it does for a Python file or `read_table`,
        # pyarrow 26 aborts some of the processes that end soon after (SIGABRT).
        return _index_of(pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:  # Arrow raises an OSError for bytes that do not unpack
        cause = " ".join(str(error).split())[:200]
        raise RequestError(f"{path} is broken parquet or no index ({cause}); export or index it again") from None


def _index_of(table: pa.Table) -> Index:
    """An index in memory; KeyError or ValueError where it lacks a column, or one is not of numbers."""
    if table["sample_id"].null_count:
        raise ValueError("a sample has no id")
    members = [name.removesuffix("_offset") for name in table.column_names if name.endswith("_offset")]
    offsets, lengths = (
        {member: table[f"{member}_{column}"].cast(pa.int64()).fill_null(-1).to_numpy() for member in members}
        for column in ("offset", "length")
    )
    if not members:
        raise ValueError("it places no member")
    keys = table["key"].cast(pa.string()) if "key" in table.column_names else None
    return Index(table["sample_id"].cast(pa.uint64()).to_numpy(), offsets, lengths, keys)
