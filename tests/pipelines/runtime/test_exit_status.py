"""What a person's files, networks and words do wrong is one line and exit status 2; a bug keeps its traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from infra.benchmarks.tools.object_store import free_port
from infra.compat.errors import RequestError
from infra.compat.failures import failure_line
from pipelines import ingest, sql, stage1, status
from pipelines.manifest.parts import Part, SourceFile, register_files
from pipelines.manifest.receipts import Receipt, read_receipts
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from pipelines.runtime import command_line
from pipelines.runtime.exit_status import failures_in_one_line
from pipelines.runtime.ray_start import init_ray
from pipelines.sources.patterns import expand
from tests.support.serving import serving

FORBIDDEN = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    """A server that answers each request with the status that the last part of its path begins with, or 403."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.split("?")[0].rsplit("/", 1)[-1]
            self.send_response(int(name[:3]) if name[:3].isdigit() else 403)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(FORBIDDEN)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(FORBIDDEN)

        do_HEAD = do_PUT = do_GET

        def log_message(self, *arguments: object) -> None:
            return

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}"


def manifest(folder: Path) -> Storage:
    """A manifest of one part of one sample."""
    storage = Storage(str(folder))
    register_files(storage, "coyo", [SourceFile("f", 0, 1, 1, "x")])
    row = {"sample_id": [1], "source": ["coyo"], "url": ["http://x/"], "caption": ["x"]}
    storage.write_parquet(Part("coyo", 0, 0, 1).path("samples"), conform(pa.table(row), "samples"))
    return storage


def ended(job: Any, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a job ends with, at exit status 2."""
    name = job.__name__.rpartition(".")[2]
    with pytest.raises(SystemExit) as exit:
        if job is sql:
            sql.main(arguments)
        command_line.run(name, job.main, arguments)
    lines = capsys.readouterr().err.splitlines()
    assert exit.value.code == 2 and len(lines) == 1, lines
    return lines[0].removeprefix(f"pairmill {name}: ")


def test_a_scheme_that_is_unknown_or_lacks_its_package_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "pip install gcsfs" in ended(stage1, ["--root", "gs://bucket/root"], capsys)
    assert "pip install adlfs" in ended(sql, ["select 1", "--root", "abfs://bucket/root"], capsys)
    assert "scheme foo://" in ended(status, ["--root", "foo://root"], capsys)
    assert "scheme foo://" in ended(ingest, ["--root", str(tmp_path), "coyo", "foo://a.parquet"], capsys)


@pytest.mark.parametrize("status_code", [403, 404, 500])
def test_a_server_that_refuses_a_file_is_quoted(refusing: str, status_code: int, capsys: pytest.CaptureFixture[str]) -> None:
    line = ended(ingest, ["--root", "/nowhere", "coyo", f"{refusing}/{status_code}.parquet"], capsys)
    assert ("no such file" in line) == (status_code == 404)
    assert status_code == 404 or f"answers {status_code}" in line


def test_a_dead_server_is_no_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    line = ended(ingest, ["--root", "/nowhere", "coyo", f"http://127.0.0.1:{free_port()}/a.parquet"], capsys)
    assert "no such file" not in line and "127.0.0.1" in line


def s3_environment(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {
        "key": "nobody",
        "secret": "nothing",
        "client_kwargs": {"endpoint_url": endpoint, "region_name": "us-east-1"},
        "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 5},
        "skip_instance_cache": True,
    }
    monkeypatch.setitem(fsspec.config.conf, "s3", options)


def test_keys_that_an_object_store_refuses_are_no_empty_manifest(
    refusing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    s3_environment(refusing, monkeypatch)
    for job, before in ((stage1, []), (sql, ["select 1"])):
        line = ended(job, [*before, "--root", "s3://bucket/root"], capsys)
        assert "keys" in line and "no samples" not in line
    line = ended(ingest, ["--root", "/nowhere", "coyo", "s3://bucket/a.parquet"], capsys)
    assert "keys" in line and "no such file" not in line


def test_an_object_store_that_does_not_answer_is_no_empty_manifest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    s3_environment(f"http://127.0.0.1:{free_port()}", monkeypatch)
    line = ended(stage1, ["--root", "s3://bucket/root"], capsys)
    assert "127.0.0.1" in line and "no samples" not in line


def test_a_ray_address_where_nothing_listens_is_refused_at_once() -> None:
    for address in ("127.0.0.1:{}", "ray://127.0.0.1:{}"):
        with pytest.raises(RequestError, match=r"cannot be joined .* name a running Ray cluster"):
            init_ray(address.format(free_port()), {})


def as_nobody(work: Callable[[], Any]) -> str:
    """The line of the failure of `work`, done by a user who may do little."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        work()
    except Exception as error:
        return failure_line(error) or repr(error)
    finally:
        os.seteuid(user)
    return ""


def test_a_locked_folder_says_so(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    (root / "a.parquet").write_bytes(b"x")
    for folder in tmp_path.parents:
        if folder.owner() != "root" or folder in (Path("/tmp"), Path("/")):
            break
        folder.chmod(0o755)
    tmp_path.chmod(0o755)
    root.chmod(0o000)
    try:
        for work in (
            lambda: expand([str(root / "a.parquet")]),
            lambda: command_line.require_parts(Storage(str(root))),
            lambda: Storage(str(root)).require_writable(),
        ):
            line = as_nobody(work)
            assert "Permission denied" in line and "no such file" not in line.lower()
    finally:
        root.chmod(0o755)


def test_a_file_where_a_folder_should_be_and_a_full_disk_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RequestError, match="is not writable"):
        Storage(str(tmp_path / "file" / "root")).require_writable()
    script = f"""
import resource, signal
from pipelines.manifest.storage import Storage
from pipelines.runtime import command_line
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
command_line.run("test", lambda arguments: Storage({str(tmp_path)!r}).write("a", b"x" * 5000))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "File too large" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_broken_file_of_the_manifest_is_named_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage, part = manifest(tmp_path), Part("coyo", 0, 0, 1)
    sound = asdict(Receipt("stage1", "coyo", part.name, "f", "d", 1, 1, {"kept": 1}))
    wrong = [
        {"rows_in": "1"},
        {"rows_out": None},
        {"counts": []},
        {"counts": {"kept": "1"}},
        {"seconds": "0.1"},
        {"seconds": True},
    ]
    wrong += [{"digest": 7}, {"inputs": "samples"}, {"inputs": {"samples": 7}}, {"settings": [1]}, {"finished_at": {}}]
    documents = [b'{"family": ', b"\xff\xfe", b"[]", b"7", b'{"colour": 1}', *[json.dumps(sound | one).encode() for one in wrong]]
    for content in documents:
        storage.write(part.receipt_path("stage1"), content)
        with pytest.raises(RequestError, match=r"receipts/stage1.*is broken JSON.*delete it"):
            read_receipts(storage, "stage1", [part])
    storage.remove([part.receipt_path("stage1")])
    record = storage.read_json("sources/coyo/000000.json")
    for one in ({"rows": "1"}, {"size": None}, {"stamp": 7}, {"uri": 7}, {"ordinal": "0"}, {"part_rows": "x"}):
        storage.write_json("sources/coyo/000000.json", record | one)
        assert "sources/coyo/000000.json is broken JSON" in ended(status, ["--root", str(tmp_path)], capsys)
    storage.write_json("sources/coyo/000000.json", record)
    whole = storage.read(part.path("samples"))
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        storage.write(part.path("samples"), whole[:size])
        with pytest.raises(RequestError, match=r"manifest/samples.*is broken parquet.*delete it"):
            storage.read_parquet(part.path("samples"))
    storage.write("sources/coyo.json", b'{"files": [')
    assert "sources/coyo.json is broken JSON" in ended(stage1, ["--root", str(tmp_path)], capsys)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"a = [", b"[nothing]\na = 1", b"[stage1.nothing]\nmin = 1"])
def test_a_recipe_that_is_none_is_one_line(content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe"
    if content is None:
        recipe.mkdir()
    else:
        recipe.write_bytes(content)
    assert "recipe" in ended(stage1, ["--root", str(tmp_path), "--recipe", str(recipe)], capsys)


@pytest.mark.parametrize("setting", ["", "=", "x", "a.b", "stage1=3", "stage1.nothing.min=1", "fetch.threads=[", "..=1", "\0=1"])
def test_a_setting_that_is_none_is_one_line(setting: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(stage1, ["--root", str(tmp_path), "--set", setting], capsys)


@pytest.mark.parametrize("query", ["", "selec 1", "select nothing from manifest", "select 1/", "select 'a'::int", "\ud800"])
def test_a_query_that_is_none_is_one_line(query: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(sql, [query, "--root", manifest(tmp_path).root], capsys)


@pytest.mark.parametrize("format", ["table", "json", "csv", "parquet"])
def test_a_closed_pipe_is_no_traceback(format: str, tmp_path: Path) -> None:
    query = "select range as n, repeat('x', 100) as x from range(20000)"
    command = [sys.executable, "-m", "pipelines.sql", query, "--root", manifest(tmp_path).root, "--format", format]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (141, b"")


def test_a_bug_keeps_its_traceback() -> None:
    for error in (KeyError("x"), ValueError("x"), ImportError("x"), TypeError("x"), ZeroDivisionError()):

        def body(arguments: object, error: Exception = error) -> None:
            raise error

        assert failure_line(error) is None
        with pytest.raises(type(error)):
            command_line.run("test", body, [])


def test_counts_are_the_last_line_of_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        command_line.run("ingest", lambda arguments: {"failed": {"coyo/0": "no space"}}, [])
    assert exit.value.code == 1 and json.loads(capsys.readouterr().out.splitlines()[-1]) == {"failed": {"coyo/0": "no space"}}


def test_names_of_others_cannot_steer_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), failures_in_one_line("ingest"):
        raise RequestError("the file has columns \x1b[2J\x1b]0;title\x07 and \x00")
    assert capfd.readouterr().err == "pairmill ingest: the file has columns \ufffd[2J\ufffd]0;title\ufffd and \ufffd\n"
