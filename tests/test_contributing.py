"""The checklists of CONTRIBUTING.md hold: each is carried out in a copy of the tree, and its command shows that it worked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import ROOT
from tests.support.checklists import Checklist, checklists
from tests.support.packages import unnamed_modules
from tests.support.pictured import PART, pictured

LIMIT = 600  # seconds for the commands of one checklist, some ten times what they take
ROOMS = ("pipelines", "filters", "sharding", "trainer_bridge", "infra")
META = {
    "URL": ["http://a.test/1.jpg", "http://a.test/a-rather-long-name.jpg"],
    "TEXT": ["A mirror selfie of two friends on the stairs", "A dog"],
    "WIDTH": [640, 640],
    "HEIGHT": [480, 480],
    "similarity": [0.3, 0.3],
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the tree with some metadata, and the manifest `pictured` beside it."""
    for room in ROOMS:
        models = ("*.safetensors",) if room == "infra" else ()
        ignored = shutil.ignore_patterns("__pycache__", "*.png", *models)
        shutil.copytree(ROOT / room, tmp_path / room, ignore=ignored)
    for module in ROOT.glob("_pairmill_*.so"):
        shutil.copy(module, tmp_path)
    pq.write_table(pa.table(META), tmp_path / "meta.parquet")
    pq.write_table(pa.table({"link": META["URL"], "text": META["TEXT"]}), tmp_path / "links.parquet")
    storage = pictured(tmp_path / "pictured", broken=False)
    assert storage.exists(PART.path("fetch"))
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, module in (("pairmill", "-m pipelines.cli"), ("python", "")):
        (binaries / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (binaries / name).chmod(0o755)
    return tmp_path


PARAMETERS = [pytest.param(checklist, id=checklist.name) for checklist in checklists()]


@pytest.mark.slow  # each starts Ray several times
@pytest.mark.parametrize("checklist", PARAMETERS)
def test_a_checklist_does_what_it_says(checklist: Checklist, house: Path) -> None:
    for file, after, text in checklist.files:
        path = house / file
        if after:
            before = path.read_text(encoding="utf-8")
            assert before.count(f"{after}\n") == 1, f"{file} has no line {after!r}, or several"
            text = before.replace(f"{after}\n", f"{after}\n{text}")
        else:
            assert not path.exists(), f"{file} is there already"
        path.write_text(text, encoding="utf-8")
    assert [module for room in ROOMS for module in unnamed_modules(house / room)] == []
    environment = os.environ | {
        "PATH": f"{house / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(house),
        "PAIRMILL_ROOT": str(house / "mill"),
    }
    script = f"set -e\n{checklist.commands}"
    finished = subprocess.run(["bash", "-c", script], cwd=house, env=environment, capture_output=True, text=True, timeout=LIMIT)
    output = finished.stdout + finished.stderr
    assert finished.returncode == 0, output[-3000:]
    assert "Traceback" not in output
    assert all(word in output for word in checklist.words), output[-3000:]


def test_every_kind_of_extension_has_a_checklist() -> None:
    names = {checklist.name for checklist in checklists()}
    kinds = "rule, rule on a new column, source, score, captioner, job, training stage, layout of weights, setting".split(", ")
    assert names == {f"A {kind}" for kind in kinds}
