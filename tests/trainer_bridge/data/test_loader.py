"""The loader's sequence of samples does not depend on stops, ranks, workers or broken neighbours."""

import io
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.compat.children import HOME
from infra.compat.errors import RequestError
from infra.compat.files import file_system
from sharding import Dataset, Sample, read_dataset, summary_bytes
from sharding.layout import SUMMARY, index_file, shard_name, tar_file
from sharding.ranges import retried
from tests.support.shards import IMAGE, numbered_dataset, write_dataset
from trainer_bridge.data import fault_limit
from trainer_bridge.data.batch import Batch, copied_ahead
from trainer_bridge.data.loader import Loader
from trainer_bridge.data.settings import LoaderSettings


def number_and_draw(image: bytes, generator: np.random.Generator) -> np.ndarray:
    """Pixels that tell the picture's number and what was drawn for it."""
    if b"broken" in image:
        raise ValueError("not a picture")
    return np.array([[[int(image.split()[-1]), int(generator.integers(1 << 30))]]])


def rows(batch: Batch) -> list[tuple]:
    pixels = batch.pixels.flatten(1).tolist()
    return list(zip(batch.positions, batch.sample_ids, batch.captions, batch.json, pixels, batch.valid.tolist(), strict=True))


def broken_dataset(folder: Path, sizes: list[int], broken: set[int], first: int = 0) -> Dataset:
    """Numbered samples, some of whose pictures cannot be decoded; the last shard's tar ends within its last sample."""
    numbers = iter(range(first, first + sum(sizes)))
    shards = [
        [
            Sample(n, b"\xff\xd8\xff broken" if n - first in broken else IMAGE % n, f"caption {n}", b'{"n": 1}')
            for n in [next(numbers) for _ in range(size)]
        ]
        for size in sizes
    ]
    dataset = write_dataset(folder, {"train": shards})
    with (folder / tar_file(f"train-{len(sizes) - 1:06d}")).open("r+b") as tar:
        tar.truncate(tar.seek(0, io.SEEK_END) - 1024 - 512 - 10)
    return dataset


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 9), min_size=2, max_size=5),
    broken=st.sets(st.integers(0, 40), max_size=4),
    seed=st.integers(0, 3),
    weight=st.sampled_from([None, 0.5, 3.0]),
    stop=st.integers(0, 5),
    ranks=st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4])),
    threads=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    ahead=st.integers(1, 3),
)
def test_before_and_after_a_stop_the_samples_are_those_of_an_undisturbed_run(
    tmp_path_factory: pytest.TempPathFactory, sizes, broken, seed, weight, stop, ranks, threads, ahead
) -> None:
    dataset = broken_dataset(tmp_path_factory.mktemp("shards"), sizes, broken)
    mixed_in = [] if weight is None else [(numbered_dataset(tmp_path_factory.mktemp("more"), [5, 3]), weight)]
    batch, last = 8, 6

    def sequence(first: int, last: int, world: int, workers: int) -> list[tuple]:
        loading = LoaderSettings(workers=workers, ahead_mib=ahead, window=2)
        loaders = [
            Loader(dataset, "train", batch, number_and_draw, seed, rank, world, mixed_in=mixed_in, settings=loading)
            for rank in range(world)
        ]
        steps = zip(*(loader.batches(first, last) for loader in loaders), strict=True)
        return [row for step in steps for share in step for row in rows(share)]

    undisturbed = sequence(0, last, 1, 1)
    assert sequence(0, stop, ranks[0], threads[0]) + sequence(stop, last, ranks[1], threads[1]) == undisturbed
    assert [position for position, *_ in undisturbed] == list(range(batch * last))
    assert all(valid or (caption, json, pixels) == ("", b"{}", [0, 0]) for _, _, caption, json, pixels, valid in undisturbed)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.sets(st.integers(0, 40), max_size=4), st.integers(0, 3))
def test_every_epoch_has_every_sample_once_and_broken_ones_keep_their_place(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], broken: set[int], seed: int
) -> None:
    total = sum(sizes)
    sound = numbered_dataset(tmp_path_factory.mktemp("sound"), sizes)
    damaged = broken_dataset(tmp_path_factory.mktemp("damaged"), sizes, broken)
    lost = {n for n in broken if n < total} | {total - 1}
    if len(lost) == total:
        return
    ids, kept = [], []
    for dataset, seen in ((sound, ids), (damaged, kept)):
        for batch in Loader(dataset, "train", total, number_and_draw, seed).batches(0, 2):
            seen.append((batch.sample_ids, batch.valid.tolist()))
            assert len(batch.faults) == batch.valid.logical_not().sum()
    assert [sorted(epoch) for epoch, _ in ids] == [list(range(total))] * 2
    assert [epoch for epoch, _ in kept] == [epoch for epoch, _ in ids]
    assert [[n for n, valid in zip(*epoch, strict=True) if not valid] for epoch in kept] == [
        [n for n in epoch if n in lost] for epoch, _ in ids
    ]


def test_faults_are_named_and_too_many_end_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = broken_dataset(tmp_path, [6, 6], {2, 3})
    loader = Loader(dataset, "train", 4, number_and_draw, 0)
    faults = [fault for batch in loader.batches(0, 3) for fault in batch.faults]
    assert len(faults) == loader.limit.faults == 3 and loader.limit.samples == 12
    assert any("train-000000.tar, sample 2: its image cannot be decoded: not a picture" in fault for fault in faults)
    assert any("train-000001.tar, sample 5 cannot be read" in fault and "ends before it" in fault for fault in faults)
    assert capsys.readouterr().err.count("loader     skipped ") == 3
    monkeypatch.setattr(fault_limit, "FEW_FAULTS", 0)
    with pytest.raises(RequestError, match=r"of \d+ samples could not be loaded, the last .*data.max_faults"):
        list(Loader(dataset, "train", 4, number_and_draw, 0, settings=LoaderSettings(max_faults=0.1)).batches(0, 9))


def test_a_dataset_without_a_sound_sample_is_refused(tmp_path: Path) -> None:
    dataset = broken_dataset(tmp_path, [4], {0, 1, 2, 3})
    with pytest.raises(RequestError, match=r"none of 64 samples can be loaded; the first: .*train-000000\.tar"):
        Loader(dataset, "train", 4, number_and_draw, 0).load(0)


def test_memory_ahead_is_bounded_and_told(tmp_path: Path) -> None:
    dataset = numbered_dataset(tmp_path, [64])
    decoded: list[int] = []

    def transform(image: bytes, generator: np.random.Generator) -> np.ndarray:
        decoded.append(1)
        return np.zeros((3, 256, 256), np.uint8)

    loader = Loader(dataset, "train", 8, transform, 0, settings=LoaderSettings(ahead_mib=5, workers=2))
    assert loader.batches_ahead == 3
    assert "64 samples in 1 shards; 2 threads load 24 ahead (about 5 MiB)" in loader.describe()
    batches = loader.batches(0, 8)
    pixels = next(batches).pixels
    assert pixels.is_contiguous(memory_format=torch.channels_last) and pixels.shape == (8, 3, 256, 256)
    batches.close()
    assert len(decoded) <= 1 + 8 * 4


def test_a_resume_in_the_middle_of_many_shards_reads_the_indexes_of_a_window_alone(tmp_path: Path) -> None:
    shard = numbered_dataset(tmp_path, [5]).shards("train")[0]
    names = [shard_name("train", number) for number in range(10_000)]
    for name in names[1:]:
        for file_of in (tar_file, index_file):
            (tmp_path / file_of(name)).hardlink_to(tmp_path / file_of(shard.name))
    (tmp_path / SUMMARY).write_bytes(summary_bytes({"train": [replace(shard, name=name) for name in names]}, {}))
    started = time.perf_counter()
    loader = Loader(read_dataset(str(tmp_path)), "train", 100, number_and_draw, 0)
    batch = loader.load(1250)  # of epoch 3, which begins with batch 1000
    assert batch.valid.all() and batch.positions[0] == 125_000
    assert len(loader.sequence.readers[0]._tables) <= 4 * 16
    assert time.perf_counter() - started < 20


def test_iteration_that_is_left_ends_its_threads(tmp_path: Path) -> None:
    before = threading.active_count()
    batches = Loader(numbered_dataset(tmp_path, [40]), "train", 4, number_and_draw, 0).batches(0, 100)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


def test_micro_batches_come_in_order_on_the_device(tmp_path: Path) -> None:
    batch = Loader(broken_dataset(tmp_path, [10, 10], {1, 7}), "train", 10, number_and_draw, 0).load(0)
    pieces = list(copied_ahead(batch.split(4), torch.device("cpu")))
    assert [row for piece in pieces for row in rows(piece)] == rows(batch) and [len(piece.captions) for piece in pieces] == [
        4,
        4,
        2,
    ]


@pytest.mark.slow
def test_a_run_from_an_object_store_that_fails_is_that_from_a_folder(tmp_path: Path, object_store: str) -> None:
    samples = [Sample(n, IMAGE % n, f"caption {n}", b"{}") for n in range(90)]
    folder = write_dataset(tmp_path, {"train": [samples[first : first + 30] for first in (0, 30, 60)]})
    uri = f"{object_store}/loader"
    fs, path = file_system(uri)
    for file in tmp_path.iterdir():
        retried(partial(fs.pipe_file, f"{path}/{file.name}", file.read_bytes()))

    def resumed(where: str) -> list[tuple]:
        loader = Loader(read_dataset(where), "train", 15, number_and_draw, 1)
        return [row for batch in loader.batches(4, 13) for row in rows(batch)]

    stored, local = resumed(uri), resumed(folder.uri)
    assert stored == local and all(row[-1] for row in stored)


@pytest.mark.parametrize(
    ("batch", "rank", "world", "fault"),
    [(8, 0, 3, "does not divide among 3 ranks"), (8, 2, 2, "no rank 2 of 2"), (8, -1, 2, "no rank -1"), (0, 0, 1, "batch of 0")],
)
def test_a_batch_without_an_equal_share_for_the_rank_is_refused(
    tmp_path: Path, batch: int, rank: int, world: int, fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        Loader(numbered_dataset(tmp_path, [9]), "train", batch, number_and_draw, 0, rank, world)


@pytest.mark.parametrize("error", [OSError("image file is truncated"), SyntaxError("broken PNG"), RuntimeError("two\nlines")])
def test_whatever_a_transform_raises_costs_one_sample(tmp_path: Path, error: Exception) -> None:
    def decoded(image: bytes, generator: np.random.Generator) -> np.ndarray:
        if image.endswith(b" 3"):
            raise error
        return number_and_draw(image, generator)

    (batch,) = Loader(numbered_dataset(tmp_path, [9]), "train", 9, decoded, 0).batches(0, 1)
    (fault,) = batch.faults
    assert [batch.sample_ids[i] for i in range(9) if not batch.valid[i]] == [3]
    assert f"sample 3: its image cannot be decoded: {type(error).__name__}: " in fault and "\n" not in fault


def test_a_transform_may_give_tensors(tmp_path: Path) -> None:
    def decoded(image: bytes, generator: np.random.Generator) -> torch.Tensor:
        return torch.full((3, 2, 2), float(image.split()[-1]))

    batch = Loader(numbered_dataset(tmp_path, [9]), "train", 9, decoded, 0).load(0)
    assert batch.pixels.dtype == torch.float32 and batch.pixels[:, 0, 0, 0].tolist() == batch.sample_ids


@pytest.mark.parametrize("other", [np.zeros((1, 1, 1)), np.zeros((1, 1, 3), int), np.zeros((2, 1, 2), int)])
def test_pixels_of_another_shape_or_type_than_others_are_refused(tmp_path: Path, other: np.ndarray) -> None:
    def decoded(image: bytes, generator: np.random.Generator) -> np.ndarray:
        return other if image.endswith(b" 3") else np.zeros((1, 1, 2), int)

    with pytest.raises(RequestError, match=r"the transform gives .*train-000000.tar.*one shape and type"):
        [*Loader(numbered_dataset(tmp_path, [9]), "train", 9, decoded, 0).batches(0, 1)]


@settings(max_examples=15, deadline=None)
@given(
    broken=st.sets(st.integers(0, 8), max_size=4),
    elsewhere=st.sets(st.integers(0, 8), max_size=4),
)
def test_a_transform_that_writes_into_the_batch_gives_what_one_gives_that_returns_arrays(
    tmp_path_factory: pytest.TempPathFactory, broken: set[int], elsewhere: set[int]
) -> None:
    dataset = numbered_dataset(tmp_path_factory.mktemp("shards"), [9])
    places = []

    def returned(image: bytes, generator: np.random.Generator) -> np.ndarray:
        if (number := int(image.split()[-1])) in broken:
            raise ValueError("not a picture")
        return np.full((3, 2, 2), number, np.uint8)

    def written(image: bytes, generator: np.random.Generator, out: np.ndarray | None = None) -> np.ndarray:
        number = int(image.split()[-1])
        if out is None or number in elsewhere:
            return returned(image, generator)
        places.append(number)
        out[...] = number
        if number in broken:
            raise ValueError("not a picture, as the end of it shows")
        return out

    first, second = (Loader(dataset, "train", 9, transform, 0).load(0) for transform in (returned, written))
    assert np.array_equal(first.pixels, second.pixels) and first.valid.tolist() == second.valid.tolist()
    assert set(places) == set(range(9)) - elsewhere


def test_a_process_ends_that_leaves_an_iteration_open(tmp_path: Path) -> None:
    numbered_dataset(tmp_path, [40])
    script = f"""
import numpy as np
from sharding import read_dataset
from trainer_bridge.data.loader import Loader

batches = Loader(read_dataset({str(tmp_path)!r}), "train", 8, lambda image, draws: np.zeros((1, 1, 1)), 0).batches(0, 100_000)
next(batches)
"""
    ended = subprocess.run([sys.executable, "-c", script], timeout=120, cwd=HOME, check=False)
    assert ended.returncode == 0
