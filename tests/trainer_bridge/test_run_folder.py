"""A run on an object store leaves there what a run on a disk leaves in a folder, stopped on the way or not."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import fsspec
import pytest

from infra.compat.errors import RequestError
from tests import ROOT
from tests.trainer_bridge.test_train import CONFIG, LIMIT, arguments, losses, run, shards  # noqa: F401
from trainer_bridge.run_folder import RunFolder
from trainer_bridge.stop_signal import STOPPED


@pytest.mark.parametrize("place", ["folder", "store"])
def test_a_folder_that_another_training_writes_to_is_refused_until_it_ends(place: str, tmp_path: Path) -> None:
    uri = str(tmp_path / "run") if place == "folder" else f"memory://{uuid.uuid4().hex}"
    first, second = RunFolder(uri), RunFolder(uri)
    first.open()
    with pytest.raises(RequestError, match=r"another training writes to .*; wait for its end, or name another"):
        second.open()
    first.release()
    second.open()
    second.release()
    assert not list(second.local.iterdir())


def test_a_copy_holds_what_is_at_the_uri_and_publishes_what_changed() -> None:
    uri = f"memory://{uuid.uuid4().hex}"
    fs = fsspec.filesystem("memory")
    first = RunFolder(f"{uri}/run/")
    first.open()
    (first.local / "metrics.jsonl").write_text("1")
    (first.local / "tokenizer").mkdir()
    (first.local / "tokenizer" / "a.json").write_text("a")
    first.publish()
    fs.pipe_file(f"{uri}/run/state/step00000001/state.json", b"{}")
    (first.local / "of an earlier run").write_text("")
    first.release()
    second = RunFolder(f"{uri}/run")
    second.open()
    assert second.local == first.local and second.states == f"{uri}/run/state"
    names = sorted(path.relative_to(second.local).as_posix() for path in second.local.rglob("*") if path.is_file())
    assert names == ["metrics.jsonl", "tokenizer/a.json"]
    fs.pipe_file(f"{uri}/run/tokenizer/a.json", b"by another machine")
    (second.local / "metrics.jsonl").write_text("12")
    second.publish()
    assert fs.cat_file(f"{uri}/run/metrics.jsonl") == b"12"
    assert fs.cat_file(f"{uri}/run/tokenizer/a.json") == b"by another machine"
    (second.local / "summary.json").write_text("{}")
    second.close()
    assert fs.exists(f"{uri}/run/summary.json") and not second.local.exists()


def test_a_folder_is_no_copy(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "a" / "run"))
    folder.open()
    assert folder.local == tmp_path / "a" / "run" and folder.local.is_dir() and not folder.is_copy
    (folder.local / "metrics.jsonl").write_text("1")
    folder.close()
    assert [path.name for path in folder.local.iterdir()] == ["metrics.jsonl"]


@pytest.mark.slow
@pytest.mark.timeout(4 * LIMIT)
def test_a_run_on_s3_is_stopped_and_goes_on(shards: Path, tmp_path: Path, object_store: str) -> None:  # noqa: F811
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.replace("steps = 60", "steps = 40"))
    fs, uri = fsspec.filesystem("s3"), f"{object_store}/{uuid.uuid4().hex}"

    def command(out: str) -> list[str]:
        request = arguments(shards, tmp_path)
        for option, value in (("--out", out), ("--config", str(config))):
            request[request.index(option) + 1] = value
        return [sys.executable, "-m", "trainer_bridge.train", *request]

    process = subprocess.Popen(command(uri), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=ROOT)
    deadline = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        fs.invalidate_cache()
        if fs.glob(f"{uri}/state/*/state.json"):
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(LIMIT) == STOPPED
    fs.invalidate_cache()
    assert not fs.exists(f"{uri}/model") and 1 <= len(fs.glob(f"{uri}/state/*/state.json")) <= 2
    again, straight = run(command(uri)), run(command(str(tmp_path / "straight")))
    assert again.returncode == 0 and straight.returncode == 0, again.stderr[-2000:]
    assert "goes on from" in again.stderr and "goes on from" not in straight.stderr
    fs.invalidate_cache()
    fs.get(f"{uri}/", str(tmp_path / "copy"), recursive=True)
    assert losses(tmp_path / "copy") == losses(tmp_path / "straight")
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (tmp_path / "copy", tmp_path / "straight")]
    assert weights[0] == weights[1]
    assert json.loads((tmp_path / "copy" / "summary.json").read_text())["steps"] == 40
    assert len(fs.glob(f"{uri}/state/*/state.json")) == 2
