"""`score` and `dedup --against` whose driver is killed, and that run again, leave the manifest of a run without kills."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.benchmarks.tools.pictured import fill_pictured
from pipelines.manifest.storage import Storage
from tests.conftest import draw
from tests.support.images import encoded

SHAPES = [(shape, colour) for shape in ("circle", "square", "cross") for colour in ("red", "green", "blue")]
PICTURES = [encoded(draw(shape, colour, random.Random(number)), "JPEG") for number, (shape, colour) in enumerate(SHAPES)]

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def commands(folder: Path) -> list[list[str]]:
    root = ["--root", str(folder / "root")]
    dedup = ["dedup", *root, "--against", f"shapes={folder / 'eval'}", "--set", "dedup.eval_agreement=0.85"]
    score = ["score", *root, "--set", "score.chunk=20"]
    return [[sys.executable, "-m", f"pipelines.{job[0]}", *job[1:]] for job in (score, dedup)]


def filled(folder: Path) -> None:
    fill_pictured(Storage(str(folder / "root")), 3, 60, PICTURES)
    (folder / "eval").mkdir()
    for number in (1, 5):
        draw(*SHAPES[number], random.Random(number)).save(folder / f"eval/{number}.png")


def run(folder: Path) -> None:
    for command in commands(folder):
        subprocess.run(command, check=True, capture_output=True, timeout=300)


def contents(folder: Path) -> dict[str, bytes]:
    """The families; what a kill may leave half done is named too: parts of chunks, and files with temporary names."""
    root = folder / "root"
    kept = {str(path.relative_to(root)): path.read_bytes() for path in root.glob("manifest/*/*/*") if path.is_file()}
    return kept | {str(path.relative_to(root)): b"" for path in root.glob("partial/**/*") if path.is_file()}


def written(folder: Path) -> int:
    return sum(path.is_file() for path in (folder / "root").glob("[!i]*/**/*"))  # all but images


def killed_after(command: list[str], folder: Path, files: int) -> bool:
    """Kills the job once it has written so many files more; False where it ended before."""
    before = written(folder)
    with subprocess.Popen(command, start_new_session=True, **QUIET) as process:
        while process.poll() is None:
            if written(folder) >= before + files:
                os.killpg(process.pid, signal.SIGKILL)
                return process.wait() == -signal.SIGKILL
            time.sleep(0.002)
    return False


@pytest.mark.slow
def test_kill_anywhere_leaves_the_same_manifest(tmp_path: Path) -> None:
    for name in ("quiet", "killed"):
        filled(tmp_path / name)
    run(tmp_path / "quiet")
    score, dedup = commands(tmp_path / "killed")
    places = [(score, 1), (score, 4), (dedup, 1), (dedup, 5)]
    assert sum(killed_after(command, tmp_path / "killed", files) for command, files in places) >= 2
    run(tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "quiet")
    assert not list(tmp_path.glob("killed/root/partial/scores/*/*/*")) and not list(tmp_path.glob("killed/root/.tmp/*"))
