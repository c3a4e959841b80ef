"""The command line is the contract: wrong requests end in exit 2 and one line, and write nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.compat.errors import RequestError
from pipelines import cli, sql
from pipelines.manifest.parts import Part, SourceFile, register_files
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from pipelines.runtime import command_line

GOOD = {"URL": ["http://a"], "TEXT": ["b"], "WIDTH": [3], "HEIGHT": [4]}


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "pipelines.cli", *arguments], capture_output=True, text=True, timeout=120)


def files(folder: Path) -> None:
    folder.mkdir()
    pq.write_table(pa.table(GOOD), folder / "good.parquet")
    pq.write_table(pa.table({name: GOOD[name] for name in ("URL", "WIDTH", "HEIGHT")}), folder / "no_text.parquet")
    (folder / "empty.parquet").touch()
    (folder / "csv.parquet").write_text("url,caption\na,b\n")
    (folder / "blocked").write_text("a file where a folder should be")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["ingest", "laion2b-en", "F/no_text.parquet"], "has no column TEXT"),
        (["ingest", "laion2b-en", "F/empty.parquet"], "is empty"),
        (["ingest", "laion2b-en", "F/csv.parquet"], "is not parquet"),
        (["ingest", "laion2b-en", "F/nothing.parquet"], "no such file"),
        (["ingest", "laion2ben", "F/good.parquet"], "did you mean 'laion2b-en'"),
        (["ingest", "laion2b-en", "F/good.parquet", "--root", "F/blocked"], "is not writable"),
        (["ingest", "laion2b-en", "F/good.parquet", "--set", "ingest.part_rows=0"], "ingest.part_rows"),
        (["ingest", "laion2b-en", "F/good.parquet", "--recipe", "F/none.toml"], "cannot be read"),
        (["ingest"], "the following arguments are required"),
        (["stage1"], "holds no samples"),
        (["calibrate"], "holds no samples"),
        (["caption", "--model", "F"], "holds no samples"),
        (["stage2", "--set", "stage2.length.word.max=3"], "did you mean 'length.words'"),
        (["fetch", "--retry", "timeouts"], "did you mean 'timeout'"),
        (["export", "--stage", "2", "--out", "F/out", "--name", "My Shards"], "must be small letters"),
        (["report", "--out", "F/out"], "holds no samples"),
        (["status"], "holds no samples"),
        (["sql", "select 1"], "holds no manifest"),
        (["fetsh"], "did you mean 'fetch'"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_2_and_writes_nothing(tmp_path: Path, arguments: list[str], said: str) -> None:
    files(tmp_path / "in")
    root = tmp_path / "root"
    arguments = [argument.replace("F/", f"{tmp_path / 'in'}/") for argument in arguments]
    if "--root" not in arguments and arguments != ["fetsh"]:
        arguments += ["--root", str(root)]
    before = sorted((tmp_path / "in").rglob("*"))
    done = run(*arguments)
    assert done.returncode == 2, done
    assert said in done.stderr and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert not done.stdout
    assert sorted((tmp_path / "in").rglob("*")) == before
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_the_last_line_of_stdout_is_json_and_a_failed_part_is_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    for counts, status in (({"kept": 3, "failed": {}}, 0), ({"kept": 2, "failed": {"coyo/0": "why"}}, 1)):
        with pytest.raises(SystemExit) as end:
            command_line.run("stage1", lambda argv, counts=counts: counts)
        assert end.value.code == status
        assert json.loads(capsys.readouterr().out.splitlines()[-1]) == counts


def test_every_job_in_the_list_is_a_module_with_a_main() -> None:
    from importlib import import_module

    for name in cli.JOBS:
        assert callable(import_module(f"pipelines.{name.replace('-', '_')}").main)


@pytest.fixture
def manifest(root: str) -> str:
    storage, part = Storage(root), Part("coyo", 0, 0, 2)
    register_files(storage, "coyo", [SourceFile("f", 0, 2, 1, "x")])
    captions = ["\x1b[31mred\x1b[0m \u202egnp.exe", 'quote " and, comma']
    rows = pa.table({"sample_id": pa.array([1, 2], pa.uint64()), "source": ["coyo"] * 2, "url": ["u"] * 2, "caption": captions})
    storage.write_parquet(part.path("samples"), conform(rows, "samples"))
    verdicts = pa.table({"sample_id": pa.array([1, 2], pa.uint64()), "keep": [True, False], "reasons": [[], ["a", "b"]]})
    storage.write_parquet(part.path("stage1"), conform(verdicts, "stage1"))
    return root


def test_nothing_in_a_caption_can_steer_the_terminal(manifest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sql.main(["--root", manifest, "select caption from manifest"]) == 0
    shown = capsys.readouterr().out
    assert "red" in shown and "\x1b" not in shown and "\u202e" not in shown


def test_every_format_gives_the_same_rows(manifest: str) -> None:
    query = "select sample_id, caption, stage1_reasons from manifest order by 1"
    lines = run("sql", "--root", manifest, "--format", "json", query).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows[1] == {"sample_id": 2, "caption": 'quote " and, comma', "stage1_reasons": ["a", "b"]}
    csv = run("sql", "--root", manifest, "--format", "csv", query).stdout
    assert csv.splitlines()[0] == '"sample_id","caption","stage1_reasons"' and '"quote "" and, comma"' in csv
    command = [sys.executable, "-m", "pipelines.cli", "sql", "--root", manifest, "--format", "parquet", query]
    data = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    assert pq.read_table(pa.BufferReader(data)).to_pylist() == rows


def test_a_wrong_query_is_one_line_and_exit_2(manifest: str) -> None:
    for query, said in (("select captoin from manifest", "caption"), ("selec", "syntax error")):
        done = run("sql", "--root", manifest, query)
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


def test_the_root_may_come_from_the_environment(manifest: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("PAIRMILL_ROOT", manifest)
    assert sql.main(["select count(*) as n from manifest", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"n": 2}
    assert os.environ["PAIRMILL_ROOT"] == manifest


def test_only_the_named_parts_are_done(root: str, tmp_path: Path, ray_session: None) -> None:
    from pipelines import ingest, stage1

    for source, name in (("laion2b-en", "a"), ("laion2b-en", "b"), ("laion2b-multi", "c")):
        extra = {"LANGUAGE": ["de"]} if source.endswith("multi") else {}
        pq.write_table(pa.table(GOOD | extra), tmp_path / f"{name}.parquet")
        ingest.main(["--root", root, source, str(tmp_path / f"{name}.parquet")])

    def done() -> set[str]:
        return {path.removeprefix("manifest/stage1/source=") for path in Storage(root).glob("manifest/stage1/*/*.parquet")}

    assert stage1.main(["--root", root, "--only", "laion2b-en/000001-0000000000"])["parts"] == 1
    assert done() == {"laion2b-en/000001-0000000000.parquet"}
    assert stage1.main(["--root", root, "--only", "laion2b-en"])["ran"] == 1
    assert len(done()) == 2
    with pytest.raises(RequestError, match="'laion2b-em' is no part; did you mean 'laion2b-en'"):
        stage1.main(["--root", root, "--only", "laion2b-em"])
