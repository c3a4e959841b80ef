"""The house: imports run downwards only, and heavy libraries stay in the rooms that need them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "infra": {"infra"},
    "filters": {"filters", "infra"},
    "sharding": {"sharding"},
    "pipelines": {"pipelines", "filters", "sharding", "infra"},
    "trainer_bridge": {"trainer_bridge", "sharding", "infra"},
}
MEASURES_ALL = ROOT / "infra" / "benchmarks"  # stands above the rooms, and nobody imports it


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_run_downwards_only(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        if MEASURES_ALL in path.parents:
            continue
        upwards = imported(path) & set(MAY_IMPORT) - MAY_IMPORT[room]
        assert not upwards, f"{path} imports {upwards}"


@pytest.mark.parametrize("room", ["filters", "sharding"])
def test_filters_and_sharding_know_no_ray_and_only_scores_know_torch(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        heavy = {"ray", "deepspeed", "transformers"} | ({"torch"} if "scores" not in path.parts else set())
        assert not imported(path) & heavy, path


@pytest.mark.parametrize(
    "job", ["sql", "ingest", "fetch", "score", "stage1", "stage2", "dedup", "export", "report", "status", "demo"]
)
def test_help_loads_neither_ray_nor_torch(job: str) -> None:
    code = f"""
import sys
from pipelines import cli
try:
    cli.main(["{job}", "--help"])
except SystemExit as end:
    assert end.code == 0
heavy = {{"ray", "torch", "deepspeed", "transformers"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)
