"""A part that is done leaves nothing but its tables and its receipt."""

from pathlib import Path

import pyarrow as pa

from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.runtime.cache import commit_once
from pipelines.runtime.progress import Reporter
from pipelines.runtime.step import PartResult, Step, _do_part

PART = Part("coyo", 0, 0, 2)


def test_chunks_of_a_run_that_was_killed_and_had_other_settings_are_removed(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    chunk = pa.table({"sample_id": pa.array([1, 2], pa.uint64())})
    killed, _ = commit_once(storage, PART, "scores", ["other settings"], lambda name: chunk)
    storage.write(killed.replace(".parquet", ".begun"), b"")
    elsewhere, _ = commit_once(storage, Part("coyo", 0, 2, 2), "scores", ["settings"], lambda name: chunk)

    def work(storage: Storage, part: Part, reporter: Reporter) -> PartResult:
        path, _ = commit_once(storage, part, "scores", ["settings"], lambda name: chunk)
        return PartResult(storage.read_parquet(path), temporary_files=[path])

    _do_part(storage, Step("scores", (), lambda part: {}, work), PART, "fingerprint", {}, lambda rows: None)
    assert storage.glob("partial/*/*/*/*") == [elsewhere]
    assert storage.read_parquet(PART.path("scores"))["sample_id"].to_pylist() == [1, 2]
