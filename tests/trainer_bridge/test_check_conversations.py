"""A check of a file tells before a training what it would leave out."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.compat.children import child_environment
from sharding import lines
from tests import ROOT
from tests.support.counted import CountedFileSystem
from tests.trainer_bridge.stages.test_instructions import cache, published  # noqa: F401
from trainer_bridge import check_conversations as module
from trainer_bridge.check_conversations import main

MODEL = str(ROOT / "infra" / "models" / "internvl")


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict, str]:
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    told = capsys.readouterr()
    return int(end.value.code or 0), json.loads(told.out) if told.out else {}, told.err


def test_faults_are_counted_with_examples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meta = published(tmp_path)
    status, found, told = check(capsys, str(meta), "--tokenizer", MODEL, "--length", "120", "--max-tiles", "4")
    assert status == 1 and found["entries"] == 9 and found["faulty"] == 3
    assert {kind: fault["count"] for kind, fault in found["faults"].items()} == {"turns": 1, "missing": 1, "learned": 1}
    assert f"{tmp_path}/lines.jsonl, entry 8" in found["faults"]["missing"]["examples"][0]
    assert sum(found["lengths"].values()) == 6 and found["sets"]["mine"]["tiles"] == found["tiles"] == 12
    assert "9 entries, of which 3 give no example" in told


def test_processes_find_what_one_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = published(tmp_path)
    _, whole, _ = check(capsys, str(meta))
    monkeypatch.setattr(module, "ROWS", 4)
    _, parts, _ = check(capsys, str(meta), "--workers", "2")
    assert parts == whole


def test_sound_files_are_exit_0_and_what_is_mended_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = {"conversations": [{"from": "human", "value": "why?"}, {"from": "gpt", "text": "so"}], "image": "gone.png"}
    (tmp_path / "a.json").write_text(json.dumps([entry, entry]))
    status, found, told = check(capsys, str(tmp_path / "a.json"), "--no-pictures")
    assert status == 0 and not found["faults"] and found["pictures"] == 2
    assert {kind: note["count"] for kind, note in found["mended"].items()} == {"no_tag": 2, "text_key": 2}
    assert "mended: a turn has its text under `text`" in told


def test_a_path_that_no_terminal_takes_is_a_fault(tmp_path: Path) -> None:
    entry = {"conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "so"}], "image": "\ud800\n.png"}
    (tmp_path / "a.jsonl").write_text(json.dumps(entry))
    command = [sys.executable, "-m", "trainer_bridge.check_conversations", str(tmp_path / "a.jsonl")]
    ended = subprocess.run(command, capture_output=True, check=False)
    assert ended.returncode == 1 and json.loads(ended.stdout)["faults"]["missing"]["count"] == 1, ended.stderr


def test_of_a_share_of_a_file_what_comes_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = [{"from": "human", "value": "why?"}, {"from": "gpt", "value": "so"}]
    (tmp_path / "a.json").write_text(json.dumps([{"conversations": turns}] * 3 + [{}]))
    (tmp_path / "meta.json").write_text('{"a": {"annotation": "a.json", "repeat_time": 0.75}}')
    status, found, _ = check(capsys, str(tmp_path / "meta.json"))
    assert status == 0 and found["entries"] == 3


def children(process: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 120
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_check_that_is_stopped_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    turns = [{"from": "human", "value": "why?"}, {"from": "gpt", "value": "so"}]
    entries = 1_000_000  # so many that it is not done before
    (tmp_path / "a.jsonl").write_text((json.dumps({"conversations": turns}) + "\n") * entries)
    command = [sys.executable, "-m", "trainer_bridge.check_conversations", str(tmp_path / "a.jsonl"), "--workers", "2"]
    environment = child_environment() | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

    def heeds_interrupts() -> None:  # also where the tests were started in the background, which ignores them
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, **pipes, env=environment, preexec_fn=heeds_interrupts) as process:
        assert until(lambda: len(children(process.pid)) >= 3)  # one of multiprocessing's own
        begun = children(process.pid)
        process.send_signal(number)
        told = process.communicate()[1]
    assert process.returncode == (128 + number if number != signal.SIGKILL else -number), told
    if number != signal.SIGKILL:  # after which multiprocessing's own process has something to say
        assert told.count("\n") == (number == signal.SIGINT), told
    assert until(lambda: not any(Path(f"/proc/{child}").exists() for child in begun))
    left = list((tmp_path / "cache" / "pairmill" / "lines").iterdir())
    assert len(left) <= (number == signal.SIGKILL)


def test_a_process_that_was_killed_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = published(tmp_path)
    monkeypatch.setattr(module, "ROWS", 4)
    monkeypatch.setattr(module, "_check", killed)
    status, _, told = check(capsys, str(meta), "--workers", "2")
    assert status == 2 and "lower --workers" in told and told.count("\n") == 1


def killed(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def mapped_here(pool: Any, workers: int, check: Callable[[Any], Any], pieces: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    return ((piece, check(piece)) for piece in pieces)


@pytest.mark.parametrize("form", ["lines", "list", "meta"])
def test_a_file_is_read_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    turns = [{"from": "human", "value": "why? " * 20}, {"from": "gpt", "value": "so " * 40}]
    entries = [{"id": i, "conversations": turns if i % 7 else []} for i in range(3000)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(entries, indent=1) if form == "list" else "\n".join(map(json.dumps, entries)))
    (tmp_path / "meta.json").write_text(json.dumps({"a": {"annotation": f"counted://{path}", "repeat_time": 2}}))
    monkeypatch.setattr(lines, "CHUNK", 1 << 16)
    if form != "lines":
        monkeypatch.setattr(module, "_mapped", mapped_here)
    uri = f"counted://{path}" if form != "meta" else str(tmp_path / "meta.json")
    CountedFileSystem.fetched.clear()
    status, found, _ = check(capsys, uri, "--workers", "1")
    assert status == 1 and found["entries"] == 3000 and found["faults"]["turns"]["count"] == 429
    assert found["faults"]["turns"]["examples"][1].startswith(f"counted://{path}, entry 8: ")
    assert CountedFileSystem.fetched[str(path)] <= 1.01 * path.stat().st_size
    monkeypatch.setattr(lines, "_blocks", None)  # not called: the places are kept
    monkeypatch.setattr(module, "_mapped", mapped_here)
    assert check(capsys, uri)[1] == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.jsonl"], "gone.jsonl"),
        (["meta.json", "--length", "0"], "--length 0 is less than 2"),
        (["meta.json", "--min-tiles", "0"], "--min-tiles 0 is less than 1"),
        (["meta.json", "--min-tiles", "9"], "--max-tiles 6 is less than 9"),
        (["meta.json", "--workers", "-1"], "--workers -1 is less than 0"),
        (["meta.json", "--tokenizer", "nowhere"], "nowhere is no folder"),
        (["meta.json", "--tokenizer", MODEL, "--template", "vicuna"], "there is no chat template 'vicuna'; known are base, "),
    ],
)
def test_a_wrong_request_is_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    published(tmp_path)
    monkeypatch.chdir(tmp_path)
    status, found, told = check(capsys, *arguments)
    assert status == 2 and not found and message in told and told.count("\n") == 1
