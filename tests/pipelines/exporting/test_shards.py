"""An export is read back with its metadata, and leaves no shard of an earlier, larger one."""

import json
from pathlib import Path

from pipelines import export
from sharding import ShardReader, faults, read_dataset
from tests.support.pictured import pictured


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
