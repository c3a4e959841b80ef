"""Rows of any sources are sorted into ranges of their key, with few files opened, however often the sort is killed."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.manifest.storage import Storage
from pipelines.runtime import external_sort
from pipelines.runtime.external_sort import ExternalSort, SortedFile, SortFailed, Source, even_lows, read_sorted
from tests.support.counted import CountedFileSystem, in_process, run_here

__all__ = ["in_process"]

KEY_END = 1 << 64
QUICK = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rows_of(source: dict[str, int]) -> pa.Table:
    """Drawn keys, some of them alike, and a text of each row."""
    rng = np.random.default_rng(source["seed"])
    keys = rng.integers(0, KEY_END, source["rows"], np.uint64, endpoint=False) >> np.uint64(rng.integers(0, 2)) & ~np.uint64(0xFF)
    ids = np.arange(source["rows"], dtype=np.uint64) + np.uint64(source["seed"] << 32)
    return pa.table({"order": keys, "sample_id": ids, "text": pa.array([f"row {number}" for number in ids], pa.string())})


def sources_of(sizes: list[int]) -> list[Source]:
    return [Source({"seed": seed, "rows": rows}, rows) for seed, rows in enumerate(sizes)]


def sort_of(root: str, buckets: int, most_opens: int) -> ExternalSort:
    lows = [number * KEY_END // buckets for number in range(buckets)]
    return ExternalSort(Storage(root), "sorting", ("order", "sample_id"), lows, rows_of, most_opens, {"inputs": "x"})


def rows_in(root: str, files: list[SortedFile]) -> pa.Table:
    return pa.concat_tables(read_sorted(Storage(root), file.path, 0, file.rows) for file in files)


@QUICK
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(1, 6), st.integers(1, 20), st.data())
def test_files_hold_all_rows_in_order_each_of_its_own_range(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    in_process: None,
    sizes: list[int],
    buckets: int,
    most_opens: int,
    data: st.DataObject,
) -> None:
    for name, least in (("BUCKET_ROWS", 5), ("FAN_IN", 2), ("BATCH_ROWS", 1)):
        monkeypatch.setattr(external_sort, name, data.draw(st.integers(least, 40), name))
    root = str(tmp_path_factory.mktemp("sort"))
    sorting = sort_of(root, buckets, most_opens)
    files = sorting.run(sources_of(sizes))
    expected = pa.concat_tables(rows_of(source.value) for source in sources_of(sizes)).sort_by(
        [("order", "ascending"), ("sample_id", "ascending")]
    )
    assert len(files) == buckets and rows_in(root, files).equals(expected)
    for file, low, high in zip(files, sorting.lows, [*sorting.lows[1:], KEY_END], strict=True):
        assert all(low <= key < high for key in read_sorted(sorting.storage, file.path, 0, file.rows)["order"].to_pylist())
    first = data.draw(st.integers(0, files[-1].rows), "first")
    count = data.draw(st.integers(0, files[-1].rows - first), "count")
    last = expected.slice(len(expected) - files[-1].rows)
    assert read_sorted(sorting.storage, files[-1].path, first, count).equals(last.slice(first, count))
    sorting.remove()
    assert not sorting.storage.glob("partial/*/*")


def test_a_sort_that_failed_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: None) -> None:
    monkeypatch.setattr(external_sort, "BUCKET_ROWS", 50)
    monkeypatch.setattr(external_sort, "FAN_IN", 3)
    sources = sources_of([20] * 40)
    whole = sort_of(str(tmp_path / "whole"), 5, 8).run(sources)
    root, steps, written = str(tmp_path / "killed"), 0, set()
    write = external_sort._write

    def failing(storage: Storage, path: str, batches: Any) -> None:
        nonlocal steps
        steps += 1
        if steps % 7 == 0:
            raise ConnectionResetError("gone")
        assert path not in written
        write(storage, path, batches)
        written.add(path)

    monkeypatch.setattr(external_sort, "_write", failing)
    failures = 0
    while True:
        try:
            files = sort_of(root, 5, 8).run(sources)
            break
        except SortFailed as error:
            assert all(name.startswith("sorting ") for name in error.causes)
            failures += 1
    assert failures >= 2 and files == whole and rows_in(root, files).equals(rows_in(str(tmp_path / "whole"), whole))
    assert [Path(root, file.path).read_bytes() for file in files] == [
        Path(tmp_path / "whole", file.path).read_bytes() for file in whole
    ]


def test_files_opened_grow_with_sources_and_not_with_buckets_times_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    monkeypatch.setattr(external_sort, "BUCKET_ROWS", 40)
    monkeypatch.setattr(external_sort, "FAN_IN", 4)
    for scale in (1, 16):
        sources, buckets = 8 * scale, 4 * scale
        CountedFileSystem.opened.clear()
        sort_of(f"counted://{tmp_path}/{scale}", buckets, sources).run(sources_of([20] * sources))
        # Each source's rows are read as a run, again where runs are merged, and by the buckets; then each file is counted.
        assert sum(CountedFileSystem.opened.values()) <= 2 * sources + sources + buckets


def test_a_failed_task_is_named_with_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_sort, "run_items", run_here)
    sorting = ExternalSort(Storage(str(tmp_path)), "sorting", ("order",), [0], lambda source: source["gone"], 1)
    with pytest.raises(SortFailed, match=r"sorting bucket 0.*KeyError"):
        sorting.run([Source({}, 1)])


@given(st.integers(0, 1 << 63), st.integers(0, 1 << 30))
def test_even_ranges_begin_at_the_low_and_ascend(low: int, rows: int) -> None:
    lows = even_lows(low, 1 << 64, rows)
    assert lows[0] == low and lows == sorted(set(lows)) and len(lows) == max(1, -(-rows // external_sort.BUCKET_ROWS))
