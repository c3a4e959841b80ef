"""Exports of many parts: their bytes depend on rows and settings alone, the files they open grow with parts + shards."""

import json
import tarfile
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.benchmarks.tools.pictured import fill_pictured
from infra.compat.errors import RequestError
from pipelines.exporting.claim import claim
from pipelines.exporting.estimate import estimate
from pipelines.exporting.plan import BYTES, HELD_OUT, TRAIN
from pipelines.exporting.run import run_export
from pipelines.exporting.settings import ExportSettings
from pipelines.exporting.sizes import shard_ranks
from pipelines.manifest import connect
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.runtime import external_sort
from pipelines.runtime.step import Outcome
from sharding import ShardReader, read_dataset
from tests.support.counted import CountedFileSystem, in_process
from tests.support.pictured import COLOURS, jpeg

__all__ = ["in_process"]

PICTURES = [jpeg(colour) for colour in COLOURS]


def export(root: str, parts: list[Part], out: Path | str, **options: object) -> Outcome:
    storage, made = Storage(root), ExportSettings(stage=1, **options)
    return run_export(storage, parts, made, "stage1", claim(storage, "stage1", Storage(str(out)), force=False))


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for pattern in patterns for path in folder.glob(pattern)}


def samples_of(out: Path, split: str) -> list[tuple[int, str, dict]]:
    """(sample id, caption, json) of each sample of a split, in order."""
    dataset = read_dataset(str(out))
    if split not in dataset.splits:
        return []
    reader = ShardReader(dataset, split)
    samples = [reader.read(shard, row) for shard, size in enumerate(reader.sizes()) for row in range(size)]
    return [(sample.sample_id, sample.text, json.loads(sample.json)) for sample in samples]


def sizes(out: Path) -> dict[str, list[int]]:
    return {split: [shard.samples for shard in shards] for split, shards in read_dataset(str(out)).splits.items()}


def test_the_sort_in_many_rounds_gives_the_bytes_of_a_sort_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    made = {}
    for name, rows in (("whole", 1 << 20), ("rounds", 9)):
        monkeypatch.setattr(external_sort, "BUCKET_ROWS", rows)
        monkeypatch.setattr(external_sort, "FAN_IN", 2 if name == "rounds" else 64)
        root, out = tmp_path / name / "root", tmp_path / name / "out"
        parts = fill_pictured(Storage(str(root)), 5, 8, PICTURES)
        outcome = export(str(root), parts, out, samples_per_shard=10, holdout=0.2, weights={"coyo": 1.5})
        assert outcome.failed == {} and outcome.counts["exported"] == 40
        made[name] = contents(out, "*.tar", "*.parquet", "dataset.json") | contents(root, "manifest/shards_stage1/*/*")
        assert not [*root.glob("partial/*_sorted/*"), *root.glob("partial/places_*/*")]
    assert made["whole"] == made["rounds"]
    assert all(max(counts) - min(counts) <= 1 for counts in sizes(out).values())


def test_files_opened_grow_with_parts_and_shards_and_not_with_their_product(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    """The files that rows pass through: plans, runs, sorted files, indexes, places."""
    monkeypatch.setattr(external_sort, "BUCKET_ROWS", 48)
    monkeypatch.setattr(external_sort, "FAN_IN", 4)
    for scale in (1, 16):
        root = f"counted://{tmp_path}/{scale}/root"
        parts = fill_pictured(Storage(root), 2 * scale, 12, PICTURES)
        CountedFileSystem.opened.clear()
        claimed = claim(Storage(root), "stage1", Storage(f"counted://{tmp_path}/{scale}/out"), force=False)
        outcome = run_export(Storage(root), parts, ExportSettings(stage=1, samples_per_shard=12), "stage1", claimed)
        assert outcome.failed == {} and outcome.counts["shards"] == 2 * scale
        of_rows = [path for path in CountedFileSystem.opened if "/partial/" in path or path.endswith(".index.parquet")]
        opened = sum(CountedFileSystem.opened[path] for path in of_rows)
        assert len(of_rows) < opened <= 4 * (len(parts) + outcome.counts["shards"])


def test_an_export_that_failed_goes_on_and_one_that_is_done_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    monkeypatch.setattr(external_sort, "BUCKET_ROWS", 9)
    root, out = tmp_path / "root", tmp_path / "out"
    parts = fill_pictured(Storage(str(root)), 3, 10, PICTURES)
    export(str(root), parts, tmp_path / "undisturbed", samples_per_shard=7)
    adopt, calls = Storage.adopt, Counter()

    def failing(storage: Storage, local: Path, path: str) -> None:
        calls["written"] += 1
        if calls["written"] % 5 == 0:
            raise ConnectionResetError("gone")
        adopt(storage, local, path)

    monkeypatch.setattr(Storage, "adopt", failing)
    failures = 0
    while failed := export(str(root), parts, out, samples_per_shard=7).failed:
        assert all("gone" in cause for cause in failed.values())
        failures += 1
    files = ("*.tar", "*.parquet", "dataset.json")
    assert failures > 2 and contents(out, *files) == contents(tmp_path / "undisturbed", *files)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.tar")}
    calls.clear()
    export(str(root), parts, out, samples_per_shard=7)
    assert not calls and {path: path.stat().st_mtime_ns for path in out.rglob("*.tar")} == before


@settings(deadline=None)
@given(st.integers(0, 10**10), st.integers(0, 10**7), st.integers(1, 10**6))
def test_shards_have_equal_sizes_at_every_size_and_hold_every_row_once(train: int, held_out: int, per_shard: int) -> None:
    per_shard = max(per_shard, (train + held_out) // 2000 + 1)
    counts = {TRAIN: train, HELD_OUT: held_out, BYTES + TRAIN: train * 1000, BYTES + HELD_OUT: held_out * 1000}
    for options in ({"samples_per_shard": per_shard}, {"bytes_per_shard": per_shard * 1000}):
        shards = list(shard_ranks(counts, ExportSettings(**options)))
        ends = [0, *(shard["end"] for shard in shards)]
        assert [shard["first"] for shard in shards] == ends[:-1] and ends[-1] == train + held_out
        for split in (TRAIN, HELD_OUT):
            rows = [shard["end"] - shard["first"] for shard in shards if shard["split"] == split]
            assert not rows or (min(rows) > 0 and max(rows) - min(rows) <= 1 and max(rows) <= per_shard)


def test_bytes_per_shard_is_about_what_shards_have(tmp_path: Path, in_process: None) -> None:
    parts = fill_pictured(Storage(str(tmp_path / "root")), 2, 50, PICTURES)
    export(str(tmp_path / "root"), parts, tmp_path / "out", bytes_per_shard=50_000)
    written = [shard.bytes for shard in read_dataset(str(tmp_path / "out")).shards("train")]
    assert len(written) > 3 and all(35_000 < size < 60_000 for size in written)


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0, 2.6])
def test_a_weight_repeats_or_subsamples_training_samples(tmp_path: Path, in_process: None, weight: float) -> None:
    root, out = str(tmp_path / "root"), tmp_path / "out"
    parts = fill_pictured(Storage(root), 3, 100, PICTURES)
    options = {"holdout": 0.2, "holdout_by": "sample", "samples_per_shard": 150}
    export(root, parts, tmp_path / "all", **options)
    export(root, parts, out, weights={"coyo": weight}, **options)
    assert samples_of(out, HELD_OUT) == samples_of(tmp_path / "all", HELD_OUT)
    copies = Counter(sample_id for sample_id, _, _ in samples_of(out, TRAIN))
    training = {sample_id for sample_id, _, _ in samples_of(tmp_path / "all", TRAIN)}
    assert copies.keys() <= training and {copies[sample_id] for sample_id in training} <= {int(weight), int(weight) + 1}
    assert abs(copies.total() - weight * len(training)) < 30 and (weight % 1 or copies.total() == weight * len(training))
    keys = []
    for path in out.glob("train-*.tar"):
        with tarfile.open(path) as tar:
            keys += tar.getnames()
    assert len(keys) == len(set(keys)) == 3 * copies.total()
    repeats = Counter((sample_id, about.get("repeat", 0)) for sample_id, _, about in samples_of(out, TRAIN))
    assert set(repeats) == {(sample_id, repeat) for sample_id, count in copies.items() for repeat in range(count)}
    rows = connect(root).sql("select sample_id, shard, position from manifest").fetchall()
    assert len(rows) == 300 and sum(shard is not None for _, shard, _ in rows) == len(copies) + len(samples_of(out, HELD_OUT))
    dataset = read_dataset(str(out))
    reader = ShardReader(dataset, TRAIN) if copies else None
    names = [shard.name for shard in dataset.splits.get(TRAIN, [])]
    for sample_id, shard, position in rows:
        assert shard not in names or reader.read(names.index(shard), position).sample_id == sample_id


def test_a_picture_is_in_one_split_with_all_its_captions(tmp_path: Path, in_process: None) -> None:
    root = str(tmp_path / "root")
    parts = fill_pictured(Storage(root), 2, 200, [jpeg(f"#{number:06x}") for number in range(0, 1 << 24, 1 << 19)])
    export(root, parts, tmp_path / "out", holdout=0.3)
    pictures = {
        split: {reader.read(0, row).image for row in range(reader.sizes()[0])}
        for split in (TRAIN, HELD_OUT)
        for reader in [ShardReader(read_dataset(str(tmp_path / "out")), split)]
    }
    assert pictures[TRAIN] and pictures[HELD_OUT] and not pictures[TRAIN] & pictures[HELD_OUT]
    export(root, parts, tmp_path / "out", holdout=0.3, holdout_by="sample")
    mixed = sizes(tmp_path / "out")
    assert 80 < sum(mixed[HELD_OUT]) < 160


CONDITIONS = {
    "language = 'en'": lambda row: row % 2 == 1,
    "width >= 50 -- pixels": lambda row: row >= 50,
    "caption like 'caption 1%' and clip_similarity is null": lambda row: str(row).startswith("1"),
    "height > 3": lambda row: False,  # NULL
    "sample_id % 3 = 0 or source = 'laion2b-en'": None,
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_where_chooses_among_the_kept(tmp_path: Path, in_process: None, condition: str) -> None:
    root = str(tmp_path / "root")
    parts = fill_pictured(Storage(root), 1, 100, PICTURES)
    outcome = export(root, parts, tmp_path / "out", where=condition)
    expected = {row for (row,) in connect(root).sql(f"select sample_id from manifest where {condition}\n").fetchall()}
    assert {sample_id for sample_id, _, _ in samples_of(tmp_path / "out", TRAIN)} == expected and outcome.failed == {}
    meets = CONDITIONS[condition]
    assert meets is None or {sample_id & 0xFFFFFFFF for sample_id in expected} == {row for row in range(100) if meets(row)}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"where": "langage = 'en'"}, r"export\.where \"langage = 'en'\" is no condition on columns.*langage"),
        ({"where": "shard is null"}, "no condition on columns of the manifest.*shard"),
        ({"where": "1; drop table x"}, "no condition"),
        ({"where": "caption"}, "it gives VARCHAR, not true or false"),
        ({"where": "row_number() over (order by url) = 1"}, "it looks at other samples too"),
        ({"where": "caption in (select caption from manifest where width > 9)"}, "it looks at other samples too"),
        ({"weights": {"coyo": 1, "wukong": 2}}, "export.weights names wukong, of which nothing was ingested; there are coyo"),
    ],
)
def test_settings_that_do_not_fit_the_manifest_are_refused(
    tmp_path: Path, in_process: None, options: Mapping[str, object], error: str
) -> None:
    root = str(tmp_path / "root")
    parts = fill_pictured(Storage(root), 1, 4, PICTURES)
    with pytest.raises(RequestError, match=error) as refused:
        export(root, parts, tmp_path / "out", **options)
    assert "\n" not in str(refused.value) and not [*(tmp_path / "out").glob("*.tar")]


@pytest.mark.parametrize(
    ("condition", "error"),
    [("caption::int > 1", "Could not convert string"), ("unnest([true, false])", "it gives 8 answers of 4 samples")],
)
def test_a_condition_that_fails_on_samples_is_named_with_the_part(
    tmp_path: Path, in_process: None, condition: str, error: str
) -> None:
    root = str(tmp_path / "root")
    parts = fill_pictured(Storage(root), 1, 4, PICTURES)
    (cause,) = export(root, parts, tmp_path / "out", where=condition).failed.values()
    assert f"export.where {condition!r} is no condition" in cause and error in cause


@pytest.mark.parametrize(
    "options", [{"samples_per_shard": 7, "holdout": 0.2}, {"bytes_per_shard": 20_000, "weights": {"coyo": 1.5}}]
)
def test_a_dry_run_says_what_the_export_writes_and_writes_nothing(
    tmp_path: Path, in_process: None, options: Mapping[str, object]
) -> None:
    root = tmp_path / "root"
    parts = fill_pictured(Storage(str(root)), 3, 40, PICTURES)
    before = contents(root, "*/*/*/*.*", "*.*/*")
    told = estimate(Storage(str(root)), parts, ExportSettings(stage=1, **options), "stage1", workers=2)
    assert contents(root, "*/*/*/*.*", "*.*/*") == before and told["failed"] == {} and told["seconds"] >= 0
    counts = export(str(root), parts, tmp_path / "out", **options).counts
    assert counts["shards"] == told["shards"] and 0 < told["requests"] <= told["train"] + told["heldout"] + told["shards"]
    assert {split: sum(rows) for split, rows in sizes(tmp_path / "out").items()} == {
        split: told[split] for split in (TRAIN, HELD_OUT) if told[split]
    }
    assert 0.8 < told["bytes"] / counts["bytes"] < 1.2


@pytest.mark.slow
def test_an_object_store_that_fails_now_and_then_holds_the_bytes_of_a_folder(
    tmp_path: Path, object_store: str, monkeypatch: pytest.MonkeyPatch, in_process: None
) -> None:
    monkeypatch.setattr(external_sort, "BUCKET_ROWS", 60)
    monkeypatch.setattr(external_sort, "FAN_IN", 2)
    made = []
    for place in (str(tmp_path), f"{object_store}/{uuid.uuid4().hex}"):
        parts = fill_pictured(Storage(f"{place}/root"), 4, 30, PICTURES)
        outcome = export(f"{place}/root", parts, f"{place}/out", samples_per_shard=20)
        out = Storage(f"{place}/out")
        assert outcome.failed == {} and outcome.counts["exported"] == 120
        made.append({path: out.read(path) for path in [*out.glob("*-*"), "dataset.json"]})
    assert made[0] == made[1] and len(made[0]) == 13
