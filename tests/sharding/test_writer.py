"""What was written is read back, by our reader and by WebDataset's own library, and a change is noticed."""

import hashlib
import io
import subprocess
import sys
import tarfile
from itertools import permutations
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from sharding import Sample, ShardReader, ShardWriter, read_dataset, summary_bytes
from sharding.index import index_bytes
from sharding.layout import SUMMARY, index_file, shard_name, split_of, tar_file
from sharding.sample import MEMBERS, endings_of, image_ending
from tests import ROOT
from tests.support.shards import IMAGE, numbered_dataset, write_dataset


@pytest.mark.parametrize("order", permutations(MEMBERS), ids="-".join)
def test_members_in_any_order_are_read_back(order: tuple[str, ...], tmp_path: Path) -> None:
    samples = [Sample(number, b"\xff\xd8\xff%d" % number, f"caption {number}", b'{"a": 1}') for number in range(3)]
    stream = io.BytesIO()
    writer = ShardWriter(stream, "train-000000")
    for sample in samples:
        writer.add(sample.sample_id, {member: sample.members()[member] for member in order})
    shard = writer.close()
    assert shard.bytes == len(stream.getvalue()) and shard.sha256 == hashlib.sha256(stream.getvalue()).hexdigest()
    (tmp_path / tar_file(shard.name)).write_bytes(stream.getvalue())
    (tmp_path / index_file(shard.name)).write_bytes(index_bytes(writer.rows))
    (tmp_path / SUMMARY).write_bytes(summary_bytes({"train": [shard]}, {}))
    reader = ShardReader(read_dataset(str(tmp_path)), "train")
    assert [reader.read(0, row) for row in (2, 0, 1)] == [samples[row] for row in (2, 0, 1)]


IMAGES = st.binary(max_size=1500).map(lambda data: b"\xff\xd8\xff" + data)


@pytest.mark.parametrize("order", permutations(MEMBERS), ids="-".join)
def test_one_tuple_decides_the_order_of_members(order: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sharding.sample.MEMBERS", order)
    dataset = numbered_dataset(tmp_path, [2])
    with tarfile.open(tmp_path / tar_file("train-000000")) as tar:
        endings = [name.partition(".")[2] for name in tar.getnames()]
    assert endings == [{"image": "jpg", "text": "txt", "json": "json"}[member] for member in order] * 2
    assert ShardReader(dataset, "train").read(0, 1) == Sample(1, IMAGE % 1, "caption 1", b"{}")


sample_lists = st.lists(
    st.builds(Sample, st.integers(0, 2**64 - 1), IMAGES, st.text(max_size=200), st.binary(max_size=600)),
    min_size=1,
    max_size=6,
    unique_by=lambda sample: sample.sample_id,
)


@given(sample_lists)
def test_any_sample_is_read_back_and_written_again_with_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]
) -> None:
    folders = [tmp_path_factory.mktemp("shards") for _ in range(2)]
    datasets = [write_dataset(folder, {"train": [samples]}) for folder in folders]
    reader = ShardReader(datasets[0], "train")
    assert [reader.read(0, row) for row in range(len(samples))] == samples
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert first == second


def test_the_bytes_of_a_shard_are_the_published_ones(tmp_path: Path) -> None:
    """Golden: a change here gives everybody's next export other checksums."""
    dataset = write_dataset(tmp_path, {"train": [[Sample(7, b"\xff\xd8\xff", "a fox", b'{"sample_id": 7}')]]})
    (shard,) = dataset.shards("train")
    assert shard.sha256 == "321f1ca3dc73aa008dd67d791d69de2a65b24a0ca0c84475cab87ab0c1c1ba34"
    assert pq.read_table(tmp_path / "train-000000.index.parquet").to_pylist() == [
        {
            "sample_id": 7,
            **{"image_offset": 512, "image_length": 3, "text_offset": 1536, "text_length": 5},
            **{"json_offset": 2560, "json_length": 16},
        }
    ]


@pytest.mark.parametrize("members", [{}, {"text": b"", "txt": b""}])
def test_a_sample_without_members_or_with_two_of_one_name_is_refused(members: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"no members|names of their own"):
        ShardWriter(io.BytesIO(), "train-000000").add(0, members)


@pytest.mark.parametrize(
    "members, endings",
    [
        ({"image": b"\xff\xd8\xff", "png": b"", "cls": b"7"}, ["jpg", "png", "cls"]),
        ({"image": b"\x89PNG", "png": b"", "text": b""}, ["img", "png", "txt"]),
        ({"image": b"?", "seg.png": b""}, ["img", "seg.png"]),
        ({"json": b"{}"}, ["json"]),
    ],
)
def test_members_of_any_name_are_written(members: dict[str, bytes], endings: list[str]) -> None:
    assert list(endings_of(members).values()) == endings


@pytest.mark.parametrize(
    "magic, ending",
    [
        (b"\xff\xd8\xff\xe0", "jpg"),
        (b"\x89PNG\r\n", "png"),
        (b"RIFF....WEBP", "webp"),
        (b"GIF89a", "gif"),
        (b"BM....", "bmp"),
        (b"II*\0", "tif"),
        (b"MM\0*", "tif"),
        (b"\0\0\0 ftypavif", "avif"),
    ],
)
def test_an_image_is_named_after_its_first_bytes(magic: bytes, ending: str) -> None:
    assert image_ending(magic) == ending
    assert endings_of({"image": magic, "text": magic, "json": magic}) == {"image": ending, "text": "txt", "json": "json"}


@given(st.text("ab-1", min_size=1, max_size=9), st.integers(0, 10**8))
def test_a_shards_name_says_its_split(split: str, number: int) -> None:
    assert split_of(shard_name(split, number)) == split
    assert split_of("dataset") is None and split_of("train-12") is None


def test_the_reader_and_webdataset_see_the_same_samples(tmp_path: Path) -> None:
    dataset = numbered_dataset(tmp_path, [3, 5])
    reader = ShardReader(dataset, "train")
    ours = [reader.read(shard, row) for shard, size in enumerate(reader.sizes()) for row in range(size)]
    urls = [str(tmp_path / tar_file(shard.name)) for shard in dataset.splits["train"]]
    theirs = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert [(s["__key__"], s["jpg"], s["txt"].decode()) for s in theirs] == [
        (f"{s.sample_id:016x}", s.image, s.text) for s in ours
    ]


def test_reading_an_index_starts_no_thread(tmp_path: Path) -> None:
    numbered_dataset(tmp_path, [2])
    code = (
        "import os, sys, pyarrow.parquet; from sharding.index import read_index; before = os.listdir('/proc/self/task'); "
        "read_index(sys.argv[1], 'train-000000'); assert os.listdir('/proc/self/task') == before"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True, timeout=300)


@pytest.mark.slow
def test_a_script_that_reads_shards_ends_with_status_0(tmp_path: Path) -> None:
    numbered_dataset(tmp_path, [2])
    code = (
        "import sys; from sharding import ShardReader, read_dataset; ShardReader(read_dataset(sys.argv[1]), 'train').read(0, 1)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert {subprocess.run(command, cwd=ROOT, capture_output=True, timeout=300).returncode for _ in range(40)} == {0}
