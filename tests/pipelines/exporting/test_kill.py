"""An export that is killed anywhere, and run again, leaves the bytes of one that was never killed."""

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
from tests.support.pictured import COLOURS, jpeg

# Buckets of few rows, so that rows pass through runs and merges.
EXPORT = """
import sys
from pipelines import export
from pipelines.runtime import external_sort
external_sort.BUCKET_ROWS, external_sort.FAN_IN = 200, 4
export.main(sys.argv[1:])
"""


def command(folder: Path) -> list[str]:
    options = ["--root", str(folder / "root"), "--stage", "1", "--out", str(folder / "out"), "--set", "export.holdout=0.1"]
    return [sys.executable, "-c", EXPORT, *options, "--set", "export.samples_per_shard=50", "--set", "export.weights.coyo=1.3"]


def contents(folder: Path) -> dict[str, bytes]:
    """What must not depend on kills: shards, indexes, summary, places; and that nothing temporary is left."""
    patterns = ("out/*-*", "out/dataset.json", "root/manifest/shards_stage1/*/*", "root/partial/*_*/*.arrow")
    return {str(path.relative_to(folder)): path.read_bytes() for pattern in patterns for path in folder.glob(pattern)}


@pytest.mark.slow
def test_kill_anywhere_leaves_the_same_bytes(tmp_path: Path) -> None:
    for name in ("quiet", "killed"):
        fill_pictured(Storage(str(tmp_path / name / "root")), 12, 100, [jpeg(colour) for colour in COLOURS])
    started = time.monotonic()
    subprocess.run(command(tmp_path / "quiet"), check=True, capture_output=True, timeout=300)
    whole, chance = time.monotonic() - started, random.Random(18)
    for _ in range(4):
        with subprocess.Popen(command(tmp_path / "killed"), start_new_session=True, stderr=subprocess.DEVNULL) as process:
            time.sleep(whole * (0.3 + 0.7 * chance.random()))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True, timeout=300)
    quiet = contents(tmp_path / "quiet")
    assert contents(tmp_path / "killed") == quiet and len([name for name in quiet if name.endswith(".tar")]) > 20
