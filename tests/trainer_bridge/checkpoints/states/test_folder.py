"""Whenever a run is killed while it saves, the state before is found whole, or the new one is."""

import os
import re
import shutil
import sys
import uuid
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from infra.compat import files
from infra.compat.errors import RequestError
from trainer_bridge.checkpoints.states import folder as folder_module
from trainer_bridge.checkpoints.states.folder import MARKER, StateFolder

RANKS = 2
TRACED = {files.__file__, folder_module.__file__}  # a run may be killed before each line of these


def save(folder: StateFolder, steps: int, keep: int = 2) -> None:
    for rank in range(RANKS):
        with folder.create(steps, f"rank-{rank}") as stream:
            stream.write(f"{steps} {rank}".encode())
    folder.finish(steps, [f"rank-{rank}" for rank in range(RANKS)], {"steps": steps}, keep)


def steps_of(folder: StateFolder) -> list[int]:
    folder.fs.invalidate_cache()
    paths = folder.fs.find(folder.base, withdirs=True)
    return sorted({int(steps) for path in paths for steps in re.findall(r"/step(\d+)", path)})


@pytest.fixture(params=["folder", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where states are: a folder, or an object store with faults."""
    if request.param == "s3":
        return f"{request.getfixturevalue('object_store')}/{uuid.uuid4().hex}"
    return str(tmp_path / "state") if request.param == "folder" else f"memory://{uuid.uuid4().hex}/state"


def killed(folder: StateFolder, steps: int, line: int) -> bool:
    """Whether a process that saves is killed before its line of that number, without a chance to clean up."""
    pid = os.fork()
    if pid == 0:
        left = line

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal left
            if frame.f_code.co_filename not in TRACED:
                return None
            left -= event == "line"
            if left < 0:
                os._exit(9)
            return trace

        sys.settrace(trace)
        save(folder, steps)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def test_a_run_killed_at_any_line_of_a_save_leaves_a_whole_state(tmp_path: Path) -> None:
    line, was_killed, newest = 0, True, set()
    for steps in (10, 20):
        save(StateFolder(str(tmp_path / "before")), steps)
    folder = StateFolder(str(tmp_path / "state"))
    while was_killed:
        shutil.copytree(tmp_path / "before", folder.base)
        was_killed = killed(folder, 30, line)
        document = folder.newest()
        newest.add(document["steps"])
        for rank in range(RANKS):
            assert Path(folder.path(document["steps"], f"rank-{rank}")).read_text() == f"{document['steps']} {rank}"
        save(folder, 40)
        assert steps_of(folder)[-1] == 40 and folder.newest()["steps"] == 40 and len(steps_of(folder)) == 2
        assert not list(Path(folder.base).rglob(".*"))  # nothing is left of what was not finished, beside the states
        shutil.rmtree(folder.base)
        line += 1
    assert newest == {20, 30} and line > 20


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_states_are_kept(uri: str, keep: int) -> None:
    folder = StateFolder(uri)
    folder.require_writable()
    assert folder.newest() is None
    for steps in (5, 10, 15, 20):
        save(folder, steps, keep)
    assert steps_of(folder) == [5, 10, 15, 20][-keep:] and folder.newest()["steps"] == 20


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda step: (step / "rank-1").unlink(), "rank-1 is missing"),
        (lambda step: (step / "rank-1").write_text("1"), "rank-1 has 1 bytes, not 4"),
        (lambda step: (step / MARKER).write_text("{"), "cannot be read"),
        (lambda step: (step / MARKER).write_text("{}"), "cannot be read"),
        (lambda step: (step.parent / "latest").write_text("x"), "DeepSpeed wrote as pickles"),
        (lambda step: (step / "mp_rank_00_model_states.pt").write_text("x"), "DeepSpeed wrote as pickles"),
    ],
)
def test_a_state_that_is_broken_or_a_pickle_is_refused_in_one_line(tmp_path: Path, damage: Any, message: str) -> None:
    folder = StateFolder(str(tmp_path / "state"))
    save(folder, 10)
    damage(Path(folder.path(10)))
    with pytest.raises(RequestError, match=message) as caught:
        folder.newest()
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_files_of_other_machines_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "PAUSES", (0.01, 0.01))
    folder = StateFolder(str(tmp_path / "state"))
    with folder.create(10, "rank-0") as stream:
        stream.write(b"10 0")
    with pytest.raises(RequestError, match=r"cannot see 1 of 2 files in .*; name an --out that all ranks share"):
        folder.finish(10, ["rank-0", "rank-1"], {"steps": 10}, 2)
    assert folder.newest() is None

    def written_meanwhile(seconds: float) -> None:
        with folder.create(10, "rank-1") as stream:
            stream.write(b"10 1")

    monkeypatch.setattr(folder_module.time, "sleep", written_meanwhile)
    folder.finish(10, ["rank-0", "rank-1"], {"steps": 10}, 2)
    assert folder.newest()["steps"] == 10


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="is not writable"):
        StateFolder(str(tmp_path / "file" / "state")).require_writable()
