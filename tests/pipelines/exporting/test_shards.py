"""An export is read back with its metadata, and leaves no shard of an earlier, larger one."""

import json
from pathlib import Path

import pytest

from pipelines import export
from pipelines.exporting import shards
from pipelines.manifest.storage import Storage
from sharding import ShardReader, faults, read_dataset
from tests.support.pictured import PART, pictured
from tests.support.shards import numbered_dataset


def exported(root: str, out: Path, samples_per_shard: int) -> dict:
    sizes = ["--set", f"export.samples_per_shard={samples_per_shard}", "--set", "export.holdout=0"]
    return export.main(["--root", root, "--stage", "1", "--out", str(out), *sizes])


def test_a_smaller_export_removes_the_shards_of_a_larger_one(tmp_path: Path, ray_session: None) -> None:
    storage, out = pictured(tmp_path / "root"), tmp_path / "shards"
    out.mkdir()
    for name in ("notes.tar", "train-notes.tar"):
        (out / name).write_bytes(b"somebody's own")
    assert exported(storage.root, out, 2)["shards"] == 3
    assert exported(storage.root, out, 10)["shards"] == 1
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == {
        "dataset.json",
        "train-000000.tar",
        "train-000000.index.parquet",
        "receipts/train-000000.json",
        "notes.tar",
        "train-notes.tar",
    }
    assert list(faults(str(out))) == []
    reader = ShardReader(read_dataset(str(out)), "train")
    samples = [reader.read(0, row) for row in range(reader.sizes()[0])]
    assert {sample.text for sample in samples} == {"red", "a red square", "green", "blue", "", "what"}
    for sample in samples:
        metadata = json.loads(sample.json)
        assert metadata["sample_id"] == sample.sample_id and metadata["source"] == "coyo"


def test_an_edit_of_what_writes_shards_writes_them_again(
    tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, out = pictured(tmp_path / "root"), tmp_path / "shards"

    def modified() -> list[int]:
        exported(storage.root, out, 2)
        return [path.stat().st_mtime_ns for path in sorted(out.glob("*.tar"))]

    before = modified()
    assert modified() == before
    monkeypatch.setattr("sharding.sample.MEMBERS", ("json", "image", "text"))
    assert not set(modified()) & set(before)


def test_files_of_any_name_are_scattered_back_to_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sharding.index", "sharding.writer", "pipelines.exporting.shards"):
        monkeypatch.setattr(f"{module}.index_file", lambda shard: f"{shard}.places")
    storage = pictured(tmp_path / "root")
    (tmp_path / "out").mkdir()
    numbered_dataset(tmp_path / "out", [2])
    out = Storage(str(tmp_path / "out"))
    result = shards._rows_of_part(storage, PART, lambda rows: None, out=out, shards=["train-000000"])
    assert result.counts == {"exported": 0} and result.table.num_rows == 0
