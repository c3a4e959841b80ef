"""Tars that others wrote are read as ours are, once they have an index; what is wrong with one is named."""

import gzip
import hashlib
import os
import shutil
from pathlib import Path

import pytest
import webdataset

from infra.compat.errors import RequestError
from pipelines import index
from pipelines.manifest.storage import Storage
from pipelines.shards.indexing import index_tar, run_index
from pipelines.shards.tars import Tars, named_tars
from sharding import ShardReader, read_dataset
from sharding.index import read_index
from sharding.tar_headers import REMOTE_WINDOW, Window, read_members
from tests.support.shards import numbered_dataset
from tests.support.tars import img2dataset_tar, jpeg, tar_bytes


def indexed(uri: Path | str, *arguments: str) -> dict:
    return index.main([str(uri), *arguments])


def samples_in(folder: Path, split: str = "train") -> dict[str, list]:
    """Shard/key → text, image and json of every sample that our reader gives."""
    dataset = read_dataset(str(folder))
    reader = ShardReader(dataset, split)
    samples = {}
    for number, shard in enumerate(dataset.shards(split)):
        places = read_index(dataset.uri, shard.name)
        for row in range(shard.samples):
            sample = reader.read(number, row)
            samples[f"{shard.name}/{places.key(row)}"] = [sample.text, sample.image, sample.json, dict(sample.others)]
    return samples


def test_tars_of_img2dataset_and_webdataset_are_read_in_folders_and_by_others(tmp_path: Path, ray_session: None) -> None:
    img2dataset_tar(tmp_path / "part-0/00000.tar", 0, 5)
    img2dataset_tar(tmp_path / "part-1/00000.tar", 5, 4)
    with webdataset.TarWriter(str(tmp_path / "part-1/b.tar")) as writer:
        for number in range(3):
            writer.write({"__key__": f"k{number}", "jpg": jpeg(number), "cls": number, "txt": f"t{number}"})
    counts = indexed(tmp_path)
    assert counts["samples"] == 12 and counts["shards"] == counts["ran"] == 3 and counts["failed"] == {}
    assert counts["without_text"] == 0
    samples = samples_in(tmp_path)
    assert samples["part-0/00000/000000003"] == ["caption 3", jpeg(3), b'{"key": "000000003"}', {}]
    assert samples["part-1/b/k2"] == ["t2", jpeg(2), b"", {"cls": b"2"}]
    indexes = [read_index(str(tmp_path), shard.name) for shard in read_dataset(str(tmp_path)).shards("train")]
    assert len({int(number) for places in indexes for number in places.sample_ids}) == 12
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file() and "receipts" not in path.parts}
    assert indexed(tmp_path)["ran"] == 0
    os.utime(tmp_path / "part-1/b.tar", (1, 1))
    assert indexed(tmp_path)["ran"] == 1
    assert {path: path.read_bytes() for path in before} == before


def test_a_read_only_place_patterns_and_splits(tmp_path: Path, ray_session: None) -> None:
    for number in range(4):
        img2dataset_tar(tmp_path / f"in/{number:05d}.tar", 10 * number, 2)
    out = tmp_path / "out"
    assert indexed(f"{tmp_path}/in/{{00000..00002}}.tar", "--out", str(out), "--checksums")["samples"] == 6
    assert indexed(f"{tmp_path}/in/0000[23].tar", "--out", str(out), "--split", "val")["samples"] == 4
    dataset = read_dataset(str(out))
    assert {split: [shard.name for shard in shards] for split, shards in dataset.splits.items()} == {
        "train": ["00000", "00001"],
        "val": ["00002", "00003"],
    }
    assert dataset.tars == str(tmp_path / "in") and len(samples_in(out, "val")) == 4
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == [f"{number:05d}.tar" for number in range(4)]
    digest = hashlib.sha256((tmp_path / "in/00000.tar").read_bytes()).hexdigest()
    assert dataset.shards("train")[0].sha256 == digest and dataset.shards("val")[1].sha256 == ""
    with pytest.raises(RequestError, match="holds an index of"):
        indexed(shutil.copytree(tmp_path / "in", tmp_path / "copy"), "--out", str(out))


def test_every_fault_is_named_and_the_rest_is_indexed(tmp_path: Path, ray_session: None) -> None:
    img2dataset_tar(tmp_path / "whole.tar", 0, 3)
    data = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[:6000])
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "ended.tar").write_bytes(tar_bytes([]))
    (tmp_path / "packed.tar").write_bytes(gzip.compress(data))
    (tmp_path / "page.tar").write_bytes(b"<html>not found</html>" * 99)
    (tmp_path / "twice.tar").write_bytes(tar_bytes([("a.jpg", b"1"), ("a.jpg", b"2")]))
    (tmp_path / "lacking.tar").write_bytes(tar_bytes([("a.jpg", b"1"), ("a.txt", b"2"), ("b.txt", b"3")]))
    for _ in range(2):  # the second run reports them from the receipts
        counts = indexed(tmp_path)
        words = {"cut": "ends early", "empty": "ends early", "ended": "holds no samples", "packed": "compressed with gzip"}
        words |= {"page": "begins no header", "twice": "several times", "lacking": "without image"}
        assert counts["failed"].keys() == words.keys()
        assert all(text in counts["failed"][shard] for shard, text in words.items())
    assert {shard.name for shard in read_dataset(str(tmp_path)).shards("train")} == {"whole", "cut", "twice", "lacking"}
    assert samples_in(tmp_path)["twice/a"][1] == b"2"


def test_samples_without_text_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(
        tar_bytes([("a.jpg", b"1"), ("a.json", b'{"caption": "c"}'), ("b.jpg", b"1"), ("b.cls", b"1")])
    )
    _, account, shard = index_tar(Storage(str(tmp_path)), "a", (tmp_path / "a.tar").stat().st_size, checksums=False)
    assert account["without_text"] == shard.samples == 2


def test_two_samples_with_one_id_are_a_fault(tmp_path: Path, ray_session: None) -> None:
    for name in ("a-000000", "a-000001"):
        (tmp_path / f"{name}.tar").write_bytes(tar_bytes([("00000000000000ff.jpg", jpeg(1))]))
    assert "255 in a-000000 and a-000001" in indexed(tmp_path)["failed"]["sample ids"]


@pytest.mark.parametrize(
    "files, request_, message",
    [
        (["a.tar.gz"], "", "is compressed"),
        (["a.tar.gz"], "a.tar.gz", "is compressed"),
        (["a.tar", "b.tgz"], "", "b.tgz is compressed"),
        (["a.tar", "b/c.TAR.GZ"], "", "c.TAR.GZ is compressed"),
        (["a.tar", "B.TAR"], "", "B.TAR is no tar by its name"),
        (["a.parquet"], "a.parquet", "is no tar by its name"),
        (["a.parquet"], "", "without data files"),
        ([], "{0..3}.tar", "no such file"),
        ([], "nothing", "no such file"),
    ],
)
def test_what_is_no_tar_is_refused(tmp_path: Path, files: list[str], request_: str, message: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"x")
    with pytest.raises(RequestError, match=message):
        index.main([f"{tmp_path}/{request_}"])


@pytest.mark.parametrize("split", ["", " ", ".", "a/b", "../a", "a\nb"])
def test_a_split_that_names_no_file_is_refused(tmp_path: Path, split: str) -> None:
    img2dataset_tar(tmp_path / "0.tar", 0, 1)
    with pytest.raises(RequestError, match="begins names of files"):
        index.main([str(tmp_path), "--split", split])


def test_a_scheme_of_another_name_gives_the_same_shards(tmp_path: Path) -> None:
    img2dataset_tar(tmp_path / "a/0.tar", 0, 1)
    assert named_tars(f"local://{tmp_path}") == named_tars(f"file://{tmp_path}/") == Tars(str(tmp_path), ("a/0",))


def test_tars_that_are_gone_stay_in_the_summary_and_are_named(tmp_path: Path, ray_session: None) -> None:
    for number in range(3):
        img2dataset_tar(tmp_path / f"{number}.tar", 10 * number, 2)
    indexed(tmp_path)
    (tmp_path / "0.tar").unlink()
    (tmp_path / "1.index.parquet").unlink()
    counts = run_index(Tars(str(tmp_path), ("0", "1", "2")), Storage(str(tmp_path)), "train", checksums=False, address=None)
    assert counts["failed"] == {"0": "its tar is missing"} and counts["ran"] == 1
    assert [shard.name for shard in read_dataset(str(tmp_path)).shards("train")] == ["0", "1", "2"]


def test_the_folder_of_a_pattern_is_above_its_first_wildcard(tmp_path: Path) -> None:
    for name in ("a[1]/x/0.tar", "a[1]/x/1.tar", "a[1]/y/0.tar"):
        img2dataset_tar(tmp_path / name, 0, 1)
    folder = f"{tmp_path}/a[1]"
    assert named_tars(folder) == Tars(folder, ("x/0", "x/1", "y/0"))
    assert named_tars(f"{folder}/x/") == Tars(f"{folder}/x", ("0", "1"))
    assert named_tars(f"{folder}/x/1.tar") == Tars(f"{folder}/x", ("1",))
    assert named_tars(f"{tmp_path}/a*/?/0.tar") == Tars(str(tmp_path), ("a[1]/x/0", "a[1]/y/0"))
    assert named_tars(f"{tmp_path}/a[1]/{{x,y}}/0.tar").shards[-1].endswith("y/0")


@pytest.mark.slow
def test_an_object_store_is_asked_few_requests(tmp_path: Path, object_store: str) -> None:
    storage = Storage(f"{object_store}/tars")
    storage.write("large.tar", tar_bytes([(f"{number}.jpg", bytes(2_000_000)) for number in range(4)]))
    storage.write("small.tar", tar_bytes([(f"{number}.jpg", jpeg(number)) for number in range(500)]))
    for shard, samples in (("large", 4), ("small", 500)):
        path = storage.full(f"{shard}.tar")
        size = storage.fs.info(path)["size"]
        with storage.fs.open(path, "rb", cache_type="none") as handle:
            window = Window(handle, size, REMOTE_WINDOW)
            assert len(read_members(window).members) == samples and window.reads <= samples // 4 + 5
        assert index_tar(storage, shard, size, checksums=False)[2].samples == samples


def test_our_own_shards_are_not_indexed_over(tmp_path: Path) -> None:
    numbered_dataset(tmp_path, [2])
    with pytest.raises(RequestError, match="is a dataset that has an index"):
        indexed(tmp_path)
