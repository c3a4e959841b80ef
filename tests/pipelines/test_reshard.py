"""Resharded samples are the same samples, in shards of the size and order that were asked for; any kill leaves the same bytes."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from pipelines import index, reshard, verify
from pipelines.manifest.storage import Storage
from pipelines.shards.plan import Cut, batches_by_root, edges, planned_shards
from pipelines.shards.receipts import Done
from pipelines.shards.resharding import _losses, _samples
from sharding import Dataset, ShardReader, faults, read_dataset
from sharding.index import Index, read_index
from sharding.sample import Sample, key_of
from tests import ROOT
from tests.support.shards import IMAGE, numbered_dataset, write_dataset
from tests.support.tars import img2dataset_tar, indexed_tars, jpeg, tar_bytes


def samples_of(dataset: Dataset, split: str = "train") -> list[Sample]:
    reader = ShardReader(dataset, split)
    return [reader.read(shard, row) for shard, size in enumerate(reader.sizes()) for row in range(size)]


def files_of(folder: Path) -> dict[str, str]:
    """The names of shards' files and their checksums; not of notes and receipts."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_our_shards_in_their_order_and_size_are_the_same_bytes(tmp_path: Path, ray_session: None) -> None:
    before = numbered_dataset(tmp_path / "in", [4, 4, 4])
    out = tmp_path / "out"
    counts = reshard.main([before.uri, "--out", str(out), "--samples-per-shard", "4", "--keep-order"])
    assert counts["shards"] == counts["ran"] == 3 and counts["samples"] == 12 and not counts["failed"]
    old, new = files_of(tmp_path / "in"), files_of(out)
    assert {name: new[name] for name in old if name != "dataset.json"} == {n: d for n, d in old.items() if n != "dataset.json"}
    assert reshard.main([before.uri, "--out", str(out), "--samples-per-shard", "4", "--keep-order"])["ran"] == 0
    (out / "train-000001.index.parquet").unlink()
    assert reshard.main([before.uri, "--out", str(out), "--samples-per-shard", "4", "--keep-order"])["ran"] == 1
    assert files_of(out) == new and not (out / "partial").exists()


@pytest.mark.parametrize("size", [["--samples-per-shard", "5"], ["--bytes-per-shard", "9000"]])
def test_others_tars_are_shuffled_with_all_their_members(tmp_path: Path, ray_session: None, size: list[str]) -> None:
    for number in range(5):
        img2dataset_tar(tmp_path / f"in/part-{number}/00000.tar", 10 * number, number + 1)
    more = [("k.png", jpeg(3)), ("k.cls", b"7"), ("k.seg.png", b"mask"), ("l.svg", b"<svg/>"), ("l.caption", b"an l")]
    (tmp_path / "in/more.tar").write_bytes(tar_bytes(more))
    index.main([str(tmp_path / "in")])
    before, out = read_dataset(str(tmp_path / "in")), tmp_path / "out"
    counts = reshard.main([before.uri, "--out", str(out), *size])
    after = read_dataset(str(out))
    assert not counts["failed"] and counts["samples"] == 17
    assert sorted(samples_of(after), key=hash_of) == sorted(samples_of(before), key=hash_of)
    assert [sample.sample_id for sample in samples_of(after)] != [sample.sample_id for sample in samples_of(before)]
    sizes = [shard.samples for shard in after.shards("train")]
    assert max(sizes) - min(sizes) <= (1 if size[0] == "--samples-per-shard" else 5) and len(sizes) >= 4


def hash_of(sample: Sample) -> int:
    return sample.sample_id


def test_copies_of_a_sample_stay_apart(tmp_path: Path, ray_session: None) -> None:
    samples = [Sample(5, IMAGE % copy, "five", b"{}", repeat=copy) for copy in range(3)]
    dataset = write_dataset(tmp_path / "in", {"train": [samples[:1], samples[1:]]})
    assert list(faults(dataset.uri)) == []
    counts = reshard.main([dataset.uri, "--out", str(tmp_path / "out"), "--samples-per-shard", "1"])
    assert counts["failed"] == {} and counts["shards"] == 3 and list(faults(str(tmp_path / "out"))) == []
    after = read_dataset(str(tmp_path / "out"))
    indexes = [read_index(after.uri, shard.name) for shard in after.every_shard()]
    assert sorted(one.key(0) for one in indexes) == [key_of(5), key_of(5, 1), key_of(5, 2)]
    assert {sample.image for sample in samples_of(after)} == {IMAGE % copy for copy in range(3)}


def test_a_folder_of_others_or_of_another_request_is_refused(tmp_path: Path, ray_session: None) -> None:
    before = numbered_dataset(tmp_path / "in", [2])
    numbered_dataset(tmp_path / "theirs", [2])
    request = [before.uri, "--samples-per-shard", "2", "--out"]
    for out, message in (("in", "is where the shards lie"), ("theirs", "which reshard did not write")):
        with pytest.raises(RequestError, match=message):
            reshard.main([*request, str(tmp_path / out)])
    reshard.main([*request, str(tmp_path / "out")])
    with pytest.raises(RequestError, match="the shards of another request"):
        reshard.main([*request, str(tmp_path / "out"), "--seed", "7"])
    with pytest.raises(RequestError, match="give a number above 0"):
        reshard.main([before.uri, "--samples-per-shard", "-1", "--out", str(tmp_path / "new")])
    with pytest.raises(RequestError, match="run `pairmill index"):
        reshard.main([str(tmp_path), "--samples-per-shard", "1", "--out", str(tmp_path / "new")])


def test_a_tar_that_changed_since_it_was_indexed_is_named(tmp_path: Path, ray_session: None) -> None:
    before = numbered_dataset(tmp_path / "in", [2, 2])
    (tmp_path / "in/train-000001.tar").write_bytes(b"")
    failed = reshard.main([before.uri, "--out", str(tmp_path / "out"), "--samples-per-shard", "2"])["failed"]
    assert "when it was indexed; index it again" in next(iter(failed.values()))
    assert not (tmp_path / "out/dataset.json").exists()


def test_samples_of_a_tar_that_was_replaced_by_one_of_the_same_size_are_named(tmp_path: Path, ray_session: None) -> None:
    files = [(f"{number}.{ending}", data) for number in range(20) for ending, data in (("jpg", jpeg(number)), ("txt", b"words"))]
    (tmp_path / "in").mkdir()
    tar, whole = tmp_path / "in/00000.tar", tar_bytes(files)
    tar.write_bytes(whole)
    indexed_tars(tmp_path / "in")
    tar.write_bytes(tar_bytes([*files[20:], *files[:20]]))
    assert tar.stat().st_size == len(whole)
    counts = reshard.main([str(tmp_path / "in"), "--samples-per-shard", "20", "--out", str(tmp_path / "out")])
    assert "are others than were indexed" in next(iter(counts["failed"].values()))
    assert counts["samples"] < 20 and verify.main([str(tmp_path / "out"), "--decode"])["failed"] == {}


def test_a_reshard_that_was_stopped_is_not_taken_for_tars_of_others(tmp_path: Path, ray_session: None) -> None:
    before, out = numbered_dataset(tmp_path / "in", [9] * 3), tmp_path / "out"
    request = [before.uri, "--samples-per-shard", "4", "--out", str(out)]
    reshard.main(request)
    (out / "dataset.json").unlink()
    for use in (
        lambda: index.main([str(out)]),
        lambda: verify.main([str(out)]),
        lambda: index.main([str(out), "--out", str(tmp_path)]),
    ):
        with pytest.raises(RequestError, match="reshard` that has not ended; run that again"):
            use()
    reshard.main(request)
    assert verify.main([str(out)])["failed"] == {}


def test_an_index_that_places_samples_outside_of_their_tar_is_named(tmp_path: Path, ray_session: None) -> None:
    before, path = numbered_dataset(tmp_path / "in", [2]), tmp_path / "in/train-000000.index.parquet"
    table = pq.read_table(path)
    column = table.column_names.index("image_length")
    pq.write_table(table.set_column(column, "image_length", pa.array([5, 1 << 62])), path)
    failed = reshard.main([before.uri, "--out", str(tmp_path / "out"), "--samples-per-shard", "2"])["failed"]
    assert "places samples outside of it; index it again" in next(iter(failed.values()))


def test_a_split_without_shards_has_no_new_ones(tmp_path: Path) -> None:
    numbered_dataset(tmp_path, [2])
    assert planned_shards(replace(read_dataset(str(tmp_path)), splits={"train": []}), "train", Cut(1, 0, 0)) == []


weights = st.lists(st.integers(1, 5000), min_size=1, max_size=60)


@given(weights, st.integers(1, 20000), st.randoms())
def test_edges_cut_by_weight_up_to_a_sample_and_leave_no_shard_empty(sizes: list[int], most: int, chance) -> None:
    places = np.array(chance.sample(range(1 << 62), len(sizes)), np.uint64)
    lows = edges(places, np.array(sizes), most)
    assert lows[0] == 0 and lows == sorted(set(lows))
    shards = np.searchsorted(np.array(lows, np.uint64), places, side="right") - 1
    loads = np.bincount(shards, weights=sizes, minlength=len(lows))
    assert loads.min() > 0 and len(lows) <= -(-sum(sizes) // most)
    assert loads.max() <= sum(sizes) / -(-sum(sizes) // most) + 2 * max(sizes)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 12), st.sampled_from([None, 0, 9]))
def test_shards_are_equal_up_to_one_sample(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], most: int, seed: int | None
) -> None:
    dataset = numbered_dataset(tmp_path_factory.mktemp("in"), sizes)
    plan = planned_shards(dataset, "train", Cut(most, 0, seed))
    assert len(plan) == -(-sum(sizes) // most)
    assert [item["low"] for item in plan[1:]] == [item["high"] + 1 for item in plan[:-1]]


@given(st.integers(0, 400))
def test_pieces_of_two_such_cuts_are_no_more_than_there_are_items(count: int) -> None:
    batches = batches_by_root(range(count))
    assert [item for batch in batches for item in batch] == list(range(count))
    assert len(batches) ** 2 <= 2 * count + 1 and all(len(batch) ** 2 <= 4 * count for batch in batches)


def test_a_sample_whose_bytes_are_gone_is_left_out_and_named(tmp_path: Path) -> None:
    dataset = numbered_dataset(tmp_path, [3])
    tar = tmp_path / "train-000000.tar"
    tar.write_bytes(tar.read_bytes()[: 512 * 14])  # after its size was compared
    places = read_index(dataset.uri, "train-000000")
    rows = [{"sample_id": row, "tar": "train-000000", **columns_of(places, row)} for row in range(3)]
    lost: list[dict] = []
    read = list(_samples(Storage(dataset.uri), rows, lost))
    assert [row["sample_id"] for row, _ in read] == [0, 1] and read[1][1]["text"] == b"caption 1"
    assert lost == [{"sample_id": 2, "tar": "train-000000"}]
    assert "1 samples are lost: train-000000" in _losses(Done({"train-000000": {"lost": lost}}))["train-000000"]


def columns_of(index: Index, row: int) -> dict[str, int]:
    spans = index.spans(row)
    return {f"{member}_{name}": span[name == "length"] for member, span in spans.items() for name in ("offset", "length")}


@pytest.mark.slow
def test_on_an_object_store_with_faults_the_bytes_are_those_in_a_folder(
    tmp_path: Path, object_store: str, ray_session: None
) -> None:
    for number in range(4):
        img2dataset_tar(tmp_path / f"in/{number:05d}.tar", 100 * number, 30)
    uri = f"{object_store}/{uuid.uuid4().hex}"
    store = Storage(uri)
    for path in (tmp_path / "in").iterdir():
        store.write(f"in/{path.name}", path.read_bytes())
    for place in (str(tmp_path), uri):
        assert index.main([f"{place}/in", "--checksums"])["failed"] == {}
        counts = reshard.main([f"{place}/in", "--out", f"{place}/out", "--bytes-per-shard", "50000"])
        assert counts["failed"] == {} and counts["samples"] == 120
        assert verify.main([f"{place}/out", "--decode"])["failed"] == {}
    files = {name: digest for name, digest in files_of(tmp_path / "out").items() if name != "dataset.json"}
    assert {name: hashlib.sha256(store.read(f"out/{name}")).hexdigest() for name in files} == files
    store.remove([f"out/{name}" for name in files if name.startswith("train-000001")])
    assert len(verify.main([f"{uri}/out"])["failed"]) == 1
    assert verify.main([f"{uri}/out", "--repair"])["repaired"] == 1


@pytest.mark.slow
def test_killed_anywhere_and_run_again_the_bytes_are_the_same(tmp_path: Path, ray_session: None) -> None:
    for number in range(12):
        img2dataset_tar(tmp_path / f"in/{number:05d}.tar", 100 * number, 60)
    indexed_tars(tmp_path / "in")
    request = [str(tmp_path / "in"), "--samples-per-shard", "17", "--out"]
    assert not reshard.main([*request, str(tmp_path / "whole")])["failed"]
    command, out, kills = [sys.executable, "-m", "pipelines.cli", "reshard", *request], tmp_path / "killed", 0
    for files in (1, 40):  # killed once so many files of shards are there
        with subprocess.Popen([*command, str(out)], cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and len(list(out.glob("*.*"))) < files:
                time.sleep(0.01)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
    reshard.main([*request, str(out)])
    assert kills and files_of(out) == files_of(tmp_path / "whole") and len(files_of(out)) == 2 * 43 + 1


def test_whatever_is_lost_of_a_reshard_is_written_again_with_the_same_bytes(tmp_path: Path, ray_session: None) -> None:
    before, out = numbered_dataset(tmp_path / "in", [9] * 7), tmp_path / "out"
    request = [before.uri, "--samples-per-shard", "4", "--out", str(out)]
    reshard.main(request)
    whole, chance = files_of(out), random.Random(3)
    for _ in range(3):
        files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != "reshard.json")
        for path in chance.sample(files, 9):
            path.unlink()
        assert 0 < reshard.main(request)["ran"] <= 9 and files_of(out) == whole
