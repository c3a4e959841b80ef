"""A write lands whole or leaves nothing, temporary files included."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.fetching.chunks import Result, Spool, write_tar
from pipelines.manifest.storage import STALE_SECONDS, Storage


def write(storage: Storage, path: str) -> None:
    storage.write(path, b"data")


def create(storage: Storage, path: str) -> None:
    assert storage.create(path, b"data")


def write_parquet(storage: Storage, path: str) -> None:
    storage.write_parquet(path, pa.table({"a": [1]}))


def adopt(storage: Storage, path: str) -> None:
    handle, name = tempfile.mkstemp()
    os.close(handle)
    storage.adopt(Path(name), path)


def write_images(storage: Storage, path: str) -> None:
    spool = Spool()
    spool.add(0, b"picture", "jpg")
    write_tar(storage, spool, ["0"], path, [Result("ok", None)])


WRITES = [write, create, write_parquet, adopt, write_images]


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("put", WRITES)
def test_a_write_that_fails_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: Callable[[Storage, str], None]
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    storage = Storage(str(tmp_path / "root"))
    storage.write("taken/file", b"a folder cannot replace a file")
    with pytest.raises(OSError, match="taken"):
        put(storage, "taken/file/inside")
    assert files_in(tmp_path / "root") == [tmp_path / "root/taken/file"]
    put(storage, "free/file")
    assert not files_in(scratch)
    assert not files_in(tmp_path / "root/.tmp")


def test_a_table_that_cannot_be_written_leaves_no_temporary_file(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with pytest.raises(pa.ArrowNotImplementedError):
        storage.write_parquet("a.parquet", pa.table({"a": pa.nulls(1, pa.month_day_nano_interval())}))
    assert not files_in(tmp_path)


def test_what_a_killed_process_left_is_removed_by_a_later_job(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("a", b"")
    ages = {"old": STALE_SECONDS + 60, "new": 0}
    for name, age in ages.items():
        (tmp_path / ".tmp" / name).write_bytes(b"half")
        os.utime(tmp_path / ".tmp" / name, (time.time() - age,) * 2)
    storage.require_writable()
    assert [path.name for path in files_in(tmp_path / ".tmp")] == ["new"]


def test_a_job_starts_while_another_moves_its_files_into_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(str(tmp_path))
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: [*listed(folder), folder / "moved since it was listed"])
    storage.require_writable()


@pytest.mark.parametrize("name", ["r[1]", "r*", "r?", "it's [a-z]"])
def test_a_root_is_no_pattern(tmp_path: Path, name: str) -> None:
    for folder in (name, "r1", "rx", "it's b"):
        Storage(str(tmp_path / folder)).write(f"kept/{folder[0]}/file.json", b"{}")
    assert Storage(str(tmp_path / name)).glob("kept/*/*.json") == [f"kept/{name[0]}/file.json"]
    memory = Storage(f"memory://{tmp_path}/{name}")
    memory.write("kept/file.json", b"{}")
    Storage(f"memory://{tmp_path}/r1").write("kept/other.json", b"{}")
    assert memory.glob("kept/*") == ["kept/file.json"]
