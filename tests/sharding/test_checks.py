"""Every change of a shard, its index or its summary is a fault that names the shard, and the sample where it is one's."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding import Sample, faults, read_dataset
from sharding.checks import Fault, shard_faults, undecodable
from tests.support.shards import numbered_dataset, write_dataset
from tests.support.tars import jpeg

TAR, INDEX, SUMMARY = "train-000001.tar", "train-000001.index.parquet", "dataset.json"


def changed_index(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def moved(table: pa.Table) -> pa.Table:
    places = pc.add(table["text_offset"], pa.array([0, 512, 0]))
    return table.set_column(table.column_names.index("text_offset"), "text_offset", places)


CHANGES = {
    "its tar is missing": lambda folder: (folder / TAR).unlink(),
    "its index train-000001.index.parquet is missing": lambda folder: (folder / INDEX).unlink(),
    "is broken parquet": lambda folder: (folder / INDEX).write_bytes(b"PAR1 no"),
    "sha256 is": lambda folder: (folder / TAR).write_bytes((folder / TAR).read_bytes().replace(b"caption 4", b"caption 3")),
    "bytes, not": lambda folder: (folder / TAR).write_bytes((folder / TAR).read_bytes()[:5000]),
    "ends early": lambda folder: (folder / TAR).write_bytes((folder / TAR).read_bytes()[:5000]),
    "0000000000000005 is in the index, not in the tar": lambda folder: (folder / TAR).write_bytes(
        (folder / TAR).read_bytes()[: 512 * 12]
    ),
    "0000000000000004 is in the tar, not in the index": lambda folder: changed_index(
        folder / INDEX, lambda table: pa.concat_tables([table[:1], table[2:]])
    ),
    "0000000000000004 the index says other places of text than the tar": lambda folder: changed_index(folder / INDEX, moved),
    "its index has 2 samples, not 3": lambda folder: changed_index(folder / INDEX, lambda table: table[:2]),
}


@pytest.mark.parametrize("fault", CHANGES)
def test_every_kind_of_change_is_named(tmp_path: Path, fault: str) -> None:
    dataset = numbered_dataset(tmp_path, [3, 3, 1])
    assert list(faults(dataset.uri)) == []
    CHANGES[fault](tmp_path)
    named = list(faults(dataset.uri))
    assert {one.shard for one in named} == {"train-000001"}
    assert any(fault in f"{one.sample} {one.what}".strip() for one in named), named


@given(st.data())
def test_any_changed_byte_of_a_tar_is_a_fault(tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("shards")
    dataset = numbered_dataset(folder, [2])
    data = bytearray((folder / "train-000000.tar").read_bytes())
    place = draw.draw(st.integers(0, len(data) - 1))
    data[place] ^= draw.draw(st.integers(1, 255))
    (folder / "train-000000.tar").write_bytes(data)
    assert [fault.shard for fault in faults(dataset.uri)]


def test_without_a_recorded_checksum_headers_are_compared_all_the_same(tmp_path: Path) -> None:
    dataset = numbered_dataset(tmp_path, [3])
    document = json.loads((tmp_path / SUMMARY).read_text())
    document["splits"]["train"][0]["sha256"] = ""
    (tmp_path / SUMMARY).write_text(json.dumps(document))
    assert list(faults(dataset.uri)) == []
    data = (tmp_path / "train-000000.tar").read_bytes()
    (tmp_path / "train-000000.tar").write_bytes(data.replace(b"0000000000000001.txt", b"0000000000000009.txt"))
    assert "begins no header" in next(faults(dataset.uri)).what


def test_what_cannot_be_decoded_is_named_by_sample(tmp_path: Path) -> None:
    samples = [
        Sample(1, jpeg(1), "whole", b"{}"),
        Sample(2, jpeg(2)[:-300], "cut", b"{}"),
        Sample(3, jpeg(3), "no json", b"{"),
        Sample(4, jpeg(4), "json too deep to be read", b"[" * 100_000),
    ]
    dataset = write_dataset(tmp_path, {"train": [samples]})
    (shard,) = dataset.shards("train")
    named = shard_faults(read_dataset(dataset.uri), shard, [undecodable])
    assert [(one.sample, one.what.partition(":")[0]) for one in named] == [
        (f"{2:016x}", "image cannot be decoded"),
        (f"{3:016x}", "json cannot be decoded"),
        (f"{4:016x}", "json cannot be decoded"),
    ]
    assert isinstance(named[0], Fault) and shard_faults(dataset, shard) == []


def test_what_an_index_places_outside_of_the_tar_costs_no_other_sample(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path, {"train": [[Sample(n, jpeg(n), "", b"{}") for n in (1, 2, 3)]]})
    (shard,) = dataset.shards("train")
    lengths = pa.array([0, 1 << 62, 0])
    changed_index(
        tmp_path / "train-000000.index.parquet",
        lambda table: table.set_column(
            table.column_names.index("image_length"), "image_length", pc.add(table["image_length"], lengths)
        ),
    )
    faulty = shard_faults(dataset, shard, [undecodable])
    assert [(one.sample, one.what) for one in faulty] == [(f"{2:016x}", "the index says other places of image than the tar")]
