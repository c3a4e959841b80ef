"""An error that all processes meet is one line, and one that a single process meets is not lost."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.compat.errors import RequestError
from tests import ROOT
from trainer_bridge import ranks

CODE = """
import time
from pathlib import Path
from trainer_bridge.ranks import fail
time.sleep({started})
fail("trainer", ValueError("what was wrong"))
"""


@pytest.mark.parametrize(
    "variables, first",
    [
        ({}, True),
        ({"RANK": "0"}, True),
        ({"RANK": "3"}, False),
        ({"SLURM_PROCID": "3"}, True),  # of a shell within an allocation: no step
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}, False),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4"}, True),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "RANK": "0"}, True),
    ],
)
def test_rank_0_speaks_for_all(variables: dict[str, str], first: bool) -> None:
    assert ranks.is_first(variables) is first


@pytest.mark.parametrize("rank, waits", [("0", []), ("1", [ranks.PATIENCE])])
def test_another_rank_writes_its_error_only_after_rank_0_could(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str, waits: list[float]
) -> None:
    waited: list[float] = []
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(time, "sleep", waited.append)
    with pytest.raises(SystemExit) as caught:
        ranks.fail("trainer", RequestError("what was wrong"))
    assert caught.value.code == 2 and capsys.readouterr().err == "trainer: what was wrong\n" and waited == waits


@pytest.mark.slow
def test_torchrun_shows_the_error_once_whoever_meets_it_first(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(CODE.format(started="4 * (__import__('os').environ['RANK'] == '0')"))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "3"]
    finished = subprocess.run([*launcher, str(tmp_path / "late.py")], capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert finished.returncode != 0 and finished.stderr.count("trainer: what was wrong") == 1
