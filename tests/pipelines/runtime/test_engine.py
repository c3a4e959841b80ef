"""Parts and receipts: what is done is not done again, what failed is named, what is written is a function of its inputs."""

import os
import time
from pathlib import Path

import pyarrow as pa
import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from pipelines.manifest import connect
from pipelines.manifest.parquet import parquet_bytes
from pipelines.manifest.parts import Part, SourceFile, all_parts, parts_of, read_files, register_files
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import FAMILIES, conform
from pipelines.recipe import load_recipe
from pipelines.runtime.progress import INTERVAL, duration, progress_line
from pipelines.runtime.runner import run_items, start_ray
from pipelines.runtime.step import PartResult, Step, fingerprints, run_step


def write_log(storage: Storage, part: Part) -> None:
    path = f"log/{str(part).replace('/', '_')}"
    storage.write(path, (storage.read(path) if storage.exists(path) else b"") + b"x")


def keep_all(storage: Storage, part: Part, reporter) -> PartResult:
    write_log(storage, part)
    if part.file == 2 and not storage.exists("mended"):
        raise ValueError("part 2 is broken")
    ids = pa.array(range(part.first_row, part.first_row + part.rows), pa.uint64())
    reporter(part.rows)
    return PartResult(pa.table({"sample_id": ids, "keep": [True] * part.rows, "reasons": [[]] * part.rows}), {"kept": part.rows})


def step(setting: int = 0) -> Step:
    return Step("stage1", (), lambda part: {"setting": setting}, keep_all)


@pytest.mark.parametrize("count", [4, 21])  # of 21 one Ray task does several
def test_a_failing_part_is_tried_twice_set_aside_and_named_and_a_rerun_does_only_it(
    root: str, ray_session: None, count: int
) -> None:
    storage = Storage(root)
    parts = [Part("coyo", file, 0, 3) for file in range(count)]
    first = run_step(storage, step(), parts)
    assert first.counts["kept"] == 3 * (count - 1) and first.ran == count
    assert list(first.failed) == ["coyo/000002-0000000000"]
    assert "part 2 is broken" in first.failed["coyo/000002-0000000000"]
    assert storage.read("log/coyo_000002-0000000000") == b"xx"
    storage.write("mended", b"")
    second = run_step(storage, step(), parts)
    assert second.ran == 1 and not second.failed and second.counts["kept"] == 3 * count
    assert run_step(storage, step(), parts).ran == 0
    assert run_step(storage, step(setting=1), parts).ran == count


def test_a_fingerprint_follows_settings_inputs_and_version_and_nothing_else(root: str) -> None:
    storage, part = Storage(root), Part("coyo", 0, 0, 3)
    plain = fingerprints(storage, step(), [part])
    assert plain == fingerprints(storage, step(), [part])
    assert plain != fingerprints(storage, step(1), [part])
    assert plain != fingerprints(storage, Step("stage1", (), lambda part: {"setting": 0}, write_log), [part])
    assert plain != fingerprints(storage, Step("stage1", (), lambda part: {"setting": 0}, keep_all, content=(3,)), [part])
    assert fingerprints(storage, Step("stage1", ("samples",), lambda part: {}, keep_all), [part]) == {}


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=40), st.integers(1, 10))
def test_parquet_bytes_do_not_depend_on_how_chunks_lie_in_memory(values: list[int], pieces: int) -> None:
    whole = pa.table({"sample_id": pa.array(values, pa.uint64()), "source": pa.array(["a"] * len(values))})
    cut = pa.concat_tables([whole.slice(i, pieces) for i in range(0, len(whole), pieces)])
    assert parquet_bytes(whole) == parquet_bytes(cut)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=6), st.integers(1, 1000))
def test_parts_cover_every_row_once_and_never_span_files(rows: list[int], size: int) -> None:
    files = [SourceFile(f"f{i}", i, count, 0, "") for i, count in enumerate(rows)]
    parts = parts_of("coyo", files, size)
    assert all(part.rows <= size for part in parts)
    for file in files:
        own = [part for part in parts if part.file == file.ordinal]
        assert [row for part in own for row in range(part.first_row, part.first_row + part.rows)] == list(range(file.rows))
    assert [part.name for part in parts] == sorted(part.name for part in parts)


def test_every_job_cuts_a_source_as_ingest_did(root: str) -> None:
    storage, file = Storage(root), SourceFile("a", 0, 700, 1, "x")
    register_files(storage, "coyo", [file], part_rows=300)
    assert [(part.first_row, part.rows) for part in all_parts(storage)] == [(0, 300), (300, 300), (600, 100)]
    with pytest.raises(RequestError, match=r"coyo was ingested in parts of 300 rows; give --set ingest\.part_rows=300"):
        register_files(storage, "coyo", [file])


def test_a_registered_file_keeps_its_ordinal_for_ever(root: str) -> None:
    storage = Storage(root)
    register_files(storage, "coyo", [SourceFile("b", 0, 1, 1, "x"), SourceFile("a", 0, 1, 1, "x")])
    register_files(storage, "coyo", [SourceFile("c", 0, 1, 1, "x"), SourceFile("b", 0, 2, 1, "y")])
    found = {file.uri: (file.ordinal, file.rows) for file in read_files(storage, "coyo")}
    assert found == {"b": (0, 2), "a": (1, 1), "c": (2, 1)}
    assert len(all_parts(storage)) == 3


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(str(tmp_path))
    storage.write("a/b", b"old")

    def die(self: Path, data: bytes) -> int:
        with self.open("wb") as handle:
            handle.write(data[:1])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", die)
    with pytest.raises(OSError, match="disk full"):
        storage.write("a/b", b"new")
    assert storage.read("a/b") == b"old"


def test_families_not_yet_made_are_null_columns_not_errors(root: str) -> None:
    storage, part = Storage(root), Part("coyo", 0, 0, 1)
    row = pa.table({"sample_id": pa.array([7], pa.uint64()), "source": ["coyo"], "url": ["u"], "caption": ["c"]})
    storage.write_parquet(part.path("samples"), conform(row, "samples"))
    found = connect(root).sql("select sample_id, stage1_keep, shard, fetch_status from manifest").fetchall()
    assert found == [(7, None, None, None)]
    for family in FAMILIES:
        columns = FAMILIES[family].names + (["source"] if family == "rejects" else [])  # which no other family can tell
        assert connect(root).sql(f'select * from "{family}"').columns == columns
    assert storage.read_parquet(part.path("samples")).schema.names == FAMILIES["samples"].names


@pytest.mark.parametrize(
    "override, said",
    [
        ("fetch.sise=3", "fetch.sise is no setting; did you mean 'size'"),
        ("fetch.size=big", "should be a valid integer"),
        ("fetch.size", "has no value"),
        ("stage1.watermark.max=many", "must be a number"),
        ("stage2.boilerplate.menus.enabled=false", "did you mean 'boilerplate.menu'"),
        ("nonsense.x=1", "nonsense is no setting; known are: caption, dedup"),
    ],
)
def test_a_wrong_recipe_is_one_line_that_names_the_setting(override: str, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        load_recipe(None, [override])
    assert "\n" not in str(caught.value)


def test_a_recipe_file_and_overrides_are_merged(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        '[stage1.clip_similarity]\nmin = 0.3\nby_source.coyo.min = 0.2\n[stage2."boilerplate.menu"]\nenabled = false\n'
    )
    recipe = load_recipe(str(path), ["stage1.clip_similarity.missing=drop", 'fetch.connect_to."a.test"="127.0.0.1:80"'])
    (similarity,) = [s for s in recipe.stage1_rules() if s.rule.name == "clip_similarity"]
    assert similarity.for_source("coyo") == {"min": 0.2} and similarity.for_source("wukong") == {"min": 0.3}
    assert similarity.missing == "drop"
    assert [s.rule.name for s in recipe.stage2_rules() if not s.enabled] == ["boilerplate.menu"]
    assert recipe.fetch.connect_to == {"a.test": "127.0.0.1:80"}


def test_progress_says_rate_and_time_left() -> None:
    line = progress_line("fetch", "rows", 250, 1000, 10)
    assert "250 / 1,000 rows" in line and "25/s" in line and "30s left" in line
    assert progress_line("fetch", "rows", 1000, 1000, 10).endswith("done")
    assert [duration(s) for s in (5, 187, 7500, float("inf"))] == ["5s", "3m07s", "2h05m", "?"]


@pytest.mark.parametrize("turn", range(2))  # the second job of a process finds the tally running
def test_the_last_line_of_progress_counts_what_every_item_reported(turn: int, capfd: pytest.CaptureFixture[str]) -> None:
    start_ray()

    def work(item: dict[str, int], reporter) -> dict[str, int]:
        reporter(item["units"])
        if item["units"] == 7:
            raise ValueError("no")
        return {}

    items = [{"label": str(units), "units": units} for units in (5, 7, 30)]
    failed = [label for label, _, error in run_items(items, work, name="count", unit="units", total=42) if error]
    assert failed == ["7"] and "42 / 42 units" in capfd.readouterr().err.splitlines()[-1]  # seven were tried twice


def test_what_a_killed_worker_reported_is_not_counted_twice(tmp_path: Path) -> None:
    start_ray()
    killed = tmp_path / "killed"

    def work(item: dict[str, int], reporter) -> dict[str, int]:
        reporter(20)
        time.sleep(INTERVAL[True])  # the tally is told twice a second
        reporter(10)
        told = ray.get(reporter.tally.get.remote(reporter.work))
        if not killed.exists():
            killed.touch()
            os._exit(9)
        return {"told": told}

    ((_, result, error),) = run_items([{"label": "part"}], work, name="count", unit="units", total=30)
    assert killed.exists() and (result, error) == ({"told": 30}, None)
