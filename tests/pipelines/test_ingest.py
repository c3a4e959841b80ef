"""Files that change, move and come twice: the manifest has the rows that are there, once."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.compat.errors import RequestError
from pipelines import ingest, stage1, status
from pipelines.manifest import Storage, connect
from pipelines.manifest.parts import read_files
from pipelines.runtime.step import _content_of
from pipelines.sources import source_named
from pipelines.sources.settings import IngestSettings


def publish(path: Path, rows: int, text: str = "a caption") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"URL": [f"http://{path.stem}.test/{n}" for n in range(rows)], "TEXT": [f"{text} {n}" for n in range(rows)]}
    pq.write_table(pa.table(table | {"WIDTH": [300] * rows, "HEIGHT": [300] * rows}), path)


def run(root: str, *arguments: str, part_rows: int = 4) -> dict:
    return ingest.main(["laion2b-en", *arguments, "--root", root, "--set", f"ingest.part_rows={part_rows}"])


def rows_in(root: str) -> int:
    ((rows,),) = connect(root).sql("select count(*) from manifest").fetchall()
    return rows


@pytest.fixture
def places(tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """An empty root, and the working folder, which holds a.parquet of 10 rows."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    publish(tmp_path / "cwd" / "a.parquet", 10)
    return str(tmp_path / "root"), tmp_path / "cwd"


def test_a_file_replaced_by_a_shorter_one_leaves_no_ghosts(places: tuple[str, Path]) -> None:
    root, folder = places
    assert run(root, "a.parquet")["parts"] == 3 and rows_in(root) == 10
    publish(folder / "a.parquet", 5, "another caption")
    assert run(root, "a.parquet")["removed_parts"] == 1 and rows_in(root) == 5
    publish(folder / "a.parquet", 7)
    assert "removed_parts" not in run(root, "a.parquet") and rows_in(root) == 7
    with pytest.raises(RequestError, match="part_rows=4"):
        run(root, "a.parquet", part_rows=3)
    assert rows_in(root) == 7


def test_a_moved_file_is_named_and_removed_by_its_old_path(places: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    root, folder = places
    for spelling in ("a.parquet", "./a.parquet", f"file://{folder}//a.parquet", "../cwd/*.parquet"):
        run(root, spelling)
    assert len(read_files(Storage(root), "laion2b-en")) == 1 and "warning" not in capsys.readouterr().err
    (folder / "a.parquet").rename(folder / "b.parquet")
    run(root, "b.parquet")
    assert f"--remove file://{folder}/a.parquet" in capsys.readouterr().err
    for _ in range(2):
        counts = run(root, "--remove", "a.parquet")
    assert counts["failed"] == {} and rows_in(root) == 10
    with pytest.raises(RequestError, match=r"did you mean 'file:///\S+/b.parquet'"):
        run(root, "--remove", "c.parquet")


def test_a_file_without_rows_stops_no_other(places: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    root, folder = places
    publish(folder / "b.parquet", 0)
    (folder / "c.parquet").touch()
    for named in (["b.parquet"], ["c.parquet"], ["b.parquet", "c.parquet"]):
        with pytest.raises(RequestError, match=r"has no rows|is empty"):
            run(root, *named)
    assert run(root, str(folder))["samples"] == 10 and rows_in(root) == 10
    assert f"no rows in file://{folder}/b.parquet and 1 more" in capsys.readouterr().err
    assert len(read_files(Storage(root), "laion2b-en")) == 1


@pytest.mark.parametrize("emptied", [b"", None])
def test_a_file_replaced_by_one_without_rows_leaves_no_ghosts(places: tuple[str, Path], emptied: bytes | None) -> None:
    root, folder = places
    publish(folder / "b.parquet", 3)
    run(root, ".")
    publish(folder / "a.parquet", 0)
    if emptied is not None:
        (folder / "a.parquet").write_bytes(emptied)
    assert run(root, "a.parquet")["removed_parts"] == 3 and rows_in(root) == 3
    publish(folder / "a.parquet", 5)
    assert run(root, ".")["samples"] == 8 and rows_in(root) == 8


def test_a_deleted_part_is_told_by_status_and_made_again(places: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    root, _ = places
    run(root, "a.parquet")
    stage1.main(["--root", root])
    (deleted, *_) = sorted(Path(root, "manifest/samples/source=laion2b-en").iterdir())
    whole = deleted.read_bytes()
    deleted.unlink()
    by_family = {row["family"]: row for row in status.main(["--root", root])["status"]}
    assert (by_family["samples"]["parts_done"], by_family["samples"]["to_do"]) == (2, 4)
    assert "not ingested" in str(stage1.main(["--root", root])["failed"])
    assert run(root, "a.parquet")["ran"] == 1 and deleted.read_bytes() == whole and rows_in(root) == 10
    assert stage1.main(["--root", root])["ran"] == 0
    (judged, *_) = sorted(Path(root, "manifest/stage1/source=laion2b-en").iterdir())
    judged.unlink()
    assert stage1.main(["--root", root])["ran"] == 1 and judged.exists()


@pytest.mark.parametrize("name", ["a::b.parquet", "a::b/c.parquet", "zip::c.parquet"])
def test_two_colons_in_a_name_are_no_chain_of_file_systems(places: tuple[str, Path], name: str) -> None:
    root, folder = places
    publish(folder / name, 6)
    for named in ([name], [f"file://{folder}/{name}", f"{folder / name}"]):
        assert run(f"{root}::root", *named)["samples"] == 6 and rows_in(f"{root}::root") == 6
    assert run(f"{root}::root", "--remove", name)["removed_parts"] == 2


def test_a_relative_root_is_one_place_for_workers_too(places: tuple[str, Path]) -> None:
    _, folder = places
    run("root", "a.parquet")
    assert rows_in(str(folder / "root")) == 10 and list((folder / "root" / "manifest" / "samples").iterdir())


@pytest.mark.slow
def test_ingests_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    for name in "abc":
        publish(tmp_path / f"{name}.parquet", 10, name)
    command = [sys.executable, "-m", "pipelines.cli", "ingest", "laion2b-en", "--root", str(tmp_path / "root")]
    jobs = [
        subprocess.Popen([*command, str(tmp_path / f"{name}.parquet")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for name in "abc"
    ]
    for job in jobs:
        assert job.wait(600) == 0 and json.loads(job.stdout.read().splitlines()[-1])["failed"] == {}
    assert rows_in(str(tmp_path / "root")) == 30
    assert {one.ordinal for one in read_files(Storage(str(tmp_path / "root")), "laion2b-en")} == {0, 1, 2}


@pytest.mark.parametrize(
    "value",
    [
        "csv_records.UNCLOSED_QUOTE",
        "records.REPEATED_HEADER",
        "encodings.LEAST_FREQUENT",
        "json_forms.parse_json",
        "compression.CHECKSUM_FLAGS",
        "text_forms.COLUMN_SHARE",
        "text_files.INVALID_UTF8",
        "published.NUMBER",
        "parquet_files.Span",
    ],
)
def test_an_edit_of_any_module_that_reads_makes_parts_stale(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    step = ingest.ingest_step(source_named("wukong"), [], IngestSettings())
    before = _content_of(step)
    assert before == _content_of(step)
    monkeypatch.setattr(f"pipelines.sources.{value}", "edited")
    assert before != _content_of(step)
