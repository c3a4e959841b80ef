"""Samples are read in any order by any number of threads; one that cannot be read is named and spares the rest."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sharding import ReadError, Sample, SampleSequence, ShardReader, ranges, read_dataset
from sharding.layout import index_file, tar_file
from sharding.sample import MEMBERS
from tests.support.ranged import Behaviour, ranged_server
from tests.support.shards import IMAGE, numbered_dataset, write_dataset
from tests.support.tars import indexed_tars, tar_bytes


def test_threads_read_more_shards_than_may_be_open(tmp_path: Path) -> None:
    dataset = numbered_dataset(tmp_path, [5] * 12)
    reader = ShardReader(dataset, "train", open_shards=4)
    places = [(int(shard), int(row)) for shard, row in np.random.default_rng(0).integers(0, [12, 5], (200, 2))]
    with ThreadPoolExecutor(6) as pool:
        chunks = pool.map(reader.read_many, [places[i : i + 20] for i in range(0, 200, 20)])
    assert [sample.sample_id for chunk in chunks for sample in chunk] == [shard * 5 + row for shard, row in places]


def damaged(folder: Path) -> list[str]:
    """Damages six shards of three in every way; returns what each of the samples is told to be, in order."""
    (folder / tar_file("train-000001")).unlink()
    (folder / index_file("train-000002")).unlink()
    (folder / index_file("train-000003")).write_bytes(b"PAR1 no index PAR1")
    whole = (folder / tar_file("train-000004")).read_bytes()
    (folder / tar_file("train-000004")).write_bytes(whole[: len(whole) // 2])
    (folder / index_file("train-000005")).write_bytes((folder / index_file("train-000000")).read_bytes())
    return ["check the path", "index cannot be read", "broken parquet", "ends before it"]


@pytest.mark.parametrize("remote", [False, True], ids=["folder", "http"])
def test_damage_costs_its_samples_alone(tmp_path: Path, remote: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "PAUSES", (0.01,))
    numbered_dataset(tmp_path, [3] * 7)
    causes = damaged(tmp_path)
    with ranged_server(tmp_path, Behaviour()) as uri:
        dataset = read_dataset(uri if remote else str(tmp_path))
        samples = ShardReader(dataset, "train").read_many([(shard, row) for row in range(3) for shard in range(7)])
    faults = [str(sample) for sample in samples if isinstance(sample, ReadError)]
    sound = {sample.sample_id for sample in samples if isinstance(sample, Sample)}
    assert {0, 1, 2, 18, 19, 20} <= sound and not sound & {3, 4, 5, 6, 7, 8, 9, 10, 11, 14}
    assert all(any(cause in fault for fault in faults) or remote for cause in causes)
    assert all("train-00000" in fault and ".tar" in fault and "\n" not in fault for fault in faults)


def test_an_index_that_lists_too_few_samples_is_told(tmp_path: Path) -> None:
    numbered_dataset(tmp_path, [3, 5])
    (tmp_path / index_file("train-000001")).write_bytes((tmp_path / index_file("train-000000")).read_bytes())
    reader = ShardReader(read_dataset(str(tmp_path)), "train")
    with pytest.raises(ReadError, match=r"train-000001.tar, sample 4: its index lists 3 samples; index it again"):
        reader.read(1, 4)


@pytest.mark.parametrize(("offset", "length"), [(-1, 20), (1 << 62, 20), (0, 1 << 62), ((1 << 63) - 1, (1 << 63) - 1), (0, None)])
def test_an_index_that_places_a_sample_outside_of_the_tar_is_told(tmp_path: Path, offset: int, length: int | None) -> None:
    numbered_dataset(tmp_path, [2])
    path = tmp_path / index_file("train-000000")
    table = pq.read_table(path)
    for member in MEMBERS:
        for column, value in (("offset", offset if length else None), ("length", length)):
            values = [value, *table[f"{member}_{column}"].to_pylist()[1:]]
            name = f"{member}_{column}"
            table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.int64()))
    pq.write_table(table, path)
    broken, sound = ShardReader(read_dataset(str(tmp_path)), "train").read_many([(0, 0), (0, 1)])
    assert isinstance(sound, Sample) and isinstance(broken, ReadError)
    assert "train-000000.tar, sample 0: its index places it outside of the tar; index it again" in str(broken)


def test_one_member_outside_of_the_tar_is_told_whatever_lies_around_it(tmp_path: Path) -> None:
    numbered_dataset(tmp_path, [2])
    path = tmp_path / index_file("train-000000")
    table = pq.read_table(path)
    lengths = pa.array([1 << 62, table["image_length"][1].as_py()])
    pq.write_table(table.set_column(table.column_names.index("image_length"), "image_length", lengths), path)
    broken, sound = ShardReader(read_dataset(str(tmp_path)), "train").read_many([(0, 0), (0, 1)])
    assert isinstance(sound, Sample) and "its index places it outside of the tar" in str(broken)


def test_a_server_that_fails_costs_no_sample_and_few_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "PAUSES", (0.01,) * 12)
    samples = [Sample(n, b"\xff\xd8\xff" + bytes(40_000), f"caption {n}", b"{}") for n in range(60)]
    write_dataset(tmp_path, {"train": [samples[:30], samples[30:]]})
    with ranged_server(tmp_path, Behaviour()) as calm, ranged_server(tmp_path, Behaviour(0.2, 0.1, 0.1)) as faulty:
        for uri in (calm, faulty):
            sequence = SampleSequence([(read_dataset(calm), 1.0)], "train", seed=3)
            sequence.readers[0].uri = sequence.readers[0].tars = uri
            read = sequence.read_many(np.arange(60))
            assert sorted(sample.sample_id for sample in read if isinstance(sample, Sample)) == list(range(60))
            if uri == calm:
                assert sequence.traffic.fetched <= 1.2 * sequence.traffic.used


@pytest.mark.parametrize("remote", [False, True], ids=["folder", "http"])
def test_members_far_from_each_other_are_read_without_what_lies_between(tmp_path: Path, remote: bool) -> None:
    pictures = [(f"{number}.jpg", b"\xff\xd8\xff%d" % number + bytes(20_000)) for number in range(60)]
    texts = [(f"{number}.txt", b"caption %d" % number) for number in range(60)]
    (tmp_path / "a.tar").write_bytes(tar_bytes([*pictures, ("rest.cls", bytes(300_000)), *texts]))
    indexed_tars(tmp_path)
    with ranged_server(tmp_path, Behaviour()) as uri:
        reader = ShardReader(read_dataset(uri if remote else str(tmp_path)), "train")
        reader.tars = uri if remote else str(tmp_path)
        samples = reader.read_many([(0, row) for row in (7, 0, 59, 30)])
    assert [(sample.image, sample.text) for sample in samples] == [(pictures[row][1], f"caption {row}") for row in (7, 0, 59, 30)]
    assert reader.traffic.fetched <= 1.2 * 4 * 20_015


def test_several_datasets_are_read_by_weight(tmp_path: Path) -> None:
    datasets = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        shard = [Sample(100 * number + i, IMAGE % i, "", b"{}") for i in range(9)]
        datasets.append(write_dataset(folder, {"train": [shard]}))
    sequence = SampleSequence([(datasets[0], 2.0), (datasets[1], 1.0)], "train", seed=0)
    ids = [sample.sample_id for sample in sequence.read_many(np.arange(54))]
    assert sorted(ids) == sorted([*range(9)] * 4 + [*range(100, 109)] * 2)
    assert sequence.total == 18
