"""The command line is the contract: wrong requests end in exit 2 and one line, and write nothing."""

import json
import os
import pty
import re
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
from pipelines.runtime.flow import JOBS
from pipelines.runtime.terminal import closing_sentence

GOOD = {"URL": ["http://a"], "TEXT": ["b"], "WIDTH": [3], "HEIGHT": [4]}


TIME_LIMIT = 600


def run(*arguments: str, cwd: Path | None = None, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    command = [sys.executable, *options, "-m", "pipelines.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, cwd=cwd)


def run_at_terminal(*arguments: str) -> tuple[int, list[str]]:
    """Exit status and lines of stdout of a job whose stdout is a terminal; stderr is not."""
    terminal, stdout = pty.openpty()
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    with subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL) as process:
        os.close(stdout)
        shown = b""
        while True:
            try:
                shown += os.read(terminal, 4096)
            except OSError:  # the other end is closed
                break
        lines = shown.decode().replace("\x1b[0m", "").splitlines()  # a library resets the terminal's colours at its end
        return process.wait(TIME_LIMIT), [line for line in lines if line]


def files(folder: Path) -> None:
    folder.mkdir()
    pq.write_table(pa.table(GOOD), folder / "good.parquet")
    pq.write_table(pa.table({name: GOOD[name] for name in ("URL", "WIDTH", "HEIGHT")}), folder / "no_text.parquet")
    (folder / "empty.parquet").touch()
    (folder / "csv.parquet").write_text("link,title\na,b\n")
    (folder / "blocked").write_text("a file where a folder should be")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["ingest", "laion2b-en", "F/no_text.parquet"], "has no column TEXT"),
        (["ingest", "laion2b-en", "F/empty.parquet"], "is empty"),
        (["ingest", "laion2b-en", "F/csv.parquet"], "has no column TEXT, URL (it has link, title)"),
        (["ingest", "laion2b-en", "F/nothing.parquet"], "no such file"),
        (["ingest", "laion2ben", "F/good.parquet"], "did you mean 'laion2b-en'"),
        (["ingest", "laion2b-en", "F/good.parquet", "--root", "F/blocked"], "a file stands where a folder should be"),
        (["ingest", "laion2b-en", "F/good.parquet", "--set", "ingest.part_rows=0"], "ingest.part_rows"),
        (["ingest", "laion2b-en", "F/good.parquet", "--recipe", "F/none.toml"], "cannot be read"),
        (["ingest"], "nothing to ingest; give SOURCE and FILES"),
        (["ingest", "laion2b-en"], "the following arguments are required: FILES"),
        (["run"], "the following arguments are required: --recipe"),
        (["run", "--recipe", "F/none.toml"], "cannot be read"),
        (["caption"], "no model; give --model"),
        (["export"], "no place for the shards; give --out"),
        (["dedup", "--against", "F/blocked"], "is not NAME=URI"),
        (["stage1"], "holds no samples"),
        (["calibrate"], "holds no samples"),
        (["caption", "--model", "F"], "holds no samples"),
        (["stage2", "--set", "stage2.length.word.max=3"], "did you mean 'length.words'"),
        (["fetch", "--retry", "timeouts"], "did you mean 'timeout'"),
        (["export", "--stage", "2", "--out", "F/out", "--name", "My Shards"], "must be small letters"),
        (["report", "--out", "F/out"], "holds no samples"),
        (["status"], "holds no samples"),
        (["status", "--root", ""], "the name of a root or folder is empty"),
        (["ingest", "laion2b-en", "F/good.parquet", "--root", ""], "the name of a root or folder is empty"),
        (["status", "--root", "s3://"], "the name of a root or folder is empty"),
        (["status", "--root", " s3:/// "], "the name of a root or folder is empty"),
        (["ingest", "laion2b-en", ""], "a name of a file is empty"),
        (["ingest", "laion2b-en", "--remove", ""], "empty name"),
        (["sql", "select 1"], "holds no manifest"),
        (["index", "F/blocked"], "is no tar by its name"),
        (["index", "F/"], "is a folder without data files"),
        (["reshard", "F/", "--out", "F/out"], "one of the arguments --samples-per-shard --bytes-per-shard is required"),
        (["verify", "F/none"], "run `pairmill index"),
        (["fetsh"], "did you mean 'fetch'"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_2_and_writes_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    files(tmp_path / "in")
    root = tmp_path / "root"
    arguments = [argument.replace("F/", f"{tmp_path / 'in'}/") for argument in arguments]
    if "--root" not in arguments and arguments[0] not in ("fetsh", "index", "reshard", "verify"):
        arguments += ["--root", str(root)]
    before = sorted((tmp_path / "in").rglob("*"))
    done = run(*arguments)
    assert done.returncode == 2, done
    assert message in done.stderr and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert not done.stdout
    assert sorted((tmp_path / "in").rglob("*")) == before
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_the_last_line_of_stdout_is_json_and_a_failed_part_is_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    for counts, status in (({"kept": 3, "failed": {}}, 0), ({"kept": 2, "failed": {"coyo/0": "why"}}, 1)):
        with pytest.raises(SystemExit) as end:
            command_line.run("stage1", lambda argv, counts=counts: counts)
        assert end.value.code == status
        assert json.loads(capsys.readouterr().out.splitlines()[-1]) == counts


def test_every_job_in_the_list_is_a_module_with_a_main_and_every_module_with_one_is_in_the_list() -> None:
    for name in JOBS:
        assert callable(cli.load_job(name).main)
    folder = Path(cli.__file__).parent
    modules = {path.stem.replace("_", "-") for path in folder.glob("*.py") if "def main(" in path.read_text()}
    assert modules - {"cli"} == set(JOBS)


def test_the_help_lists_the_jobs_in_the_order_of_the_flow() -> None:
    listed = [line.split()[0] for line in run("--help").stdout.splitlines() if line.startswith("  ")]
    assert listed == list(JOBS)
    assert listed[:9] == ["ingest", "stage1", "fetch", "score", "dedup", "stage2", "caption", "export", "report"]
    assert run().stdout == run("--help").stdout


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a manifest of one sample."""
    folder = tmp_path_factory.mktemp("ingested")
    pq.write_table(pa.table(GOOD), folder / "good.parquet")
    done = run("ingest", "--root", str(folder / "root"), "laion2b-en", str(folder / "good.parquet"))
    assert done.returncode == 0, done.stderr
    return folder / "root"


def test_a_person_at_a_terminal_sees_a_table_and_what_to_run_next(ingested: Path) -> None:
    status, shown = run_at_terminal("stage1", "--root", str(ingested))
    assert status == 0
    assert [line.split() for line in shown[:4]] == [["dropped", "1"], ["kept", "0"], ["parts", "1"], ["ran", "1"]]
    assert len({len(line) for line in shown[:-1]}) == 1  # aligned
    assert all(line.startswith("  ") for line in shown[4:-1])  # the reasons
    assert shown[-1].startswith("stage1: done. Next: pairmill fetch")
    status, shown = run_at_terminal("stage1", "--root", str(ingested), "--json")
    assert status == 0 and len(shown) == 1 and json.loads(shown[0])["dropped"] == 1


@pytest.mark.slow
def test_jobs_with_tables_of_their_own_end_in_a_sentence_at_a_terminal_and_in_json_elsewhere(ingested: Path) -> None:
    captions = ingested.parent / "captions.txt"
    captions.write_text("A red fox in the snow\n")
    root = ["--root", str(ingested)]
    for name, *arguments in (["status", *root], ["explain", *root, str(1 << 56)], ["captions-check", str(captions)]):
        status, shown = run_at_terminal(name, *arguments)
        assert status == 0 and shown[-1].startswith(f"{name}: done. Next: "), shown
        assert not any(line.startswith("{") for line in shown)
        status, shown = run_at_terminal(name, *arguments, "--json")
        assert status == 0 and json.loads(shown[-1])
        assert json.loads(run(name, *arguments).stdout.splitlines()[-1]) == json.loads(shown[-1])


def test_a_failed_part_is_named_in_the_closing_sentence() -> None:
    assert closing_sentence("fetch", {"parts": 3, "failed": {"coyo/0": "disk full"}}).startswith("fetch: 1 part failed")
    assert closing_sentence("run", {"stopped_at": "fetch", "failed": {"a": "", "b": ""}}).startswith(
        "run stopped at fetch: 2 parts"
    )
    assert closing_sentence("verify", {"failed": {"00000": "cut off"}}).endswith(
        "--repair writes faulty shards again, and no others."
    )


def test_stderr_of_a_job_holds_only_lines_of_ours(ingested: Path) -> None:
    done = run("stage1", "--root", str(ingested), "--set", "stage1.clip_similarity.min=0.1")
    assert done.returncode == 0 and json.loads(done.stdout)["ran"] == 1
    ours = re.compile(r"stage1 +[\d,]+ / 1 rows")
    assert done.stderr and all(ours.match(line) for line in done.stderr.splitlines()), done.stderr


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A folder of a user whose files and folders have the names of our packages."""
    for name in ("filters.py", "infra.py", "tests/__init__.py", "sharding/__init__.py"):
        path = tmp_path / "crowded" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("raise RuntimeError('this is not the package you are looking for')\n")
    return tmp_path / "crowded"


def test_a_users_files_with_our_names_do_not_reach_the_driver_or_its_workers(ingested: Path, crowded: Path) -> None:
    # The console script, like -P, does not look for modules in the working folder. Ray's workers would.
    done = run("stage1", "--root", str(ingested), "--set", "stage1.aesthetic.min=4.1", cwd=crowded, options=("-P",))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ran"] == 1 and not json.loads(done.stdout)["failed"]


@pytest.mark.parametrize("module, shadow", [("pipelines.stage1", "filters.py"), ("trainer_bridge.train", "infra.py")])
def test_a_shadowed_package_is_refused_in_one_line_that_names_the_file(crowded: Path, module: str, shadow: str) -> None:
    for path in crowded.iterdir():
        if path.name != shadow:
            path.rename(crowded / f"not_{path.name}")
    done = subprocess.run([sys.executable, "-m", module], capture_output=True, text=True, timeout=TIME_LIMIT, cwd=crowded)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"{crowded / shadow} hides the package of that name" in done.stderr
    code = f"import {module.partition('.')[0]}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIME_LIMIT, cwd=crowded)
    assert done.stderr.splitlines()[-1].startswith("ImportError: ") and str(crowded / shadow) in done.stderr


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
    data = subprocess.run(command, capture_output=True, check=True, timeout=TIME_LIMIT).stdout
    assert pq.read_table(pa.BufferReader(data)).to_pylist() == rows


def test_any_answer_is_written_or_refused_in_one_line(manifest: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    def answer(query: str, format: str) -> str:
        try:
            sql.main(["--root", manifest, "--format", format, query])
        except SystemExit as stopped:
            assert stopped.code == 2
            return capfdbinary.readouterr().err.decode()
        sys.stdout.flush()
        return capfdbinary.readouterr().out.decode(errors="replace")

    assert answer("select source, source, sum(sample_id) as n from manifest group by 1", "json") == (
        '{"source": "coyo", "source_1": "coyo", "n": 3}\n'
    )
    assert answer("select 'nan'::float as x, 1 / 0 as y, 1.5::decimal(5, 2) as z", "json") == '{"x": null, "y": null, "z": 1.5}\n'
    nested = answer("select {'a': [1]} as s, map {'k': 1} as m, 1 as a, 2 as a", "csv")
    assert nested == '"s","m","a","a"\n"{""a"": [1]}","[[""k"", 1]]",1,2\n'
    assert '""caption"": ""quote' in answer("select m from manifest m order by sample_id desc", "csv")
    for format, query in (("csv", "select interval 1 day"), ("parquet", "select interval 1 day"), ("csv", "select '101'::bit")):
        assert re.fullmatch(rf"pairmill sql: {format} cannot hold .*; cast the column to varchar\n", answer(query, format))


def test_a_wrong_query_is_one_line_and_exit_2(manifest: str) -> None:
    for query, message in (("select captoin from manifest", "caption"), ("selec", "syntax error")):
        done = run("sql", "--root", manifest, query)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


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
