"""The house: imports run one way between rooms and between the folders of a room, and heavy libraries stay where they are needed.

A *node* is a folder of a room (`pipelines.manifest`) or a module at a room's top (`pipelines.stage1`). An edge is an import, a
lazy one too, or a string that names a module to be run or imported (`"-m", "trainer_bridge.train"`).
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from tests import ROOT

MAY_USE = {
    "infra": {"infra"},
    "filters": {"filters", "infra"},
    "sharding": {"sharding", "infra"},
    "pipelines": {"pipelines", "filters", "sharding", "infra"},
    "trainer_bridge": {"trainer_bridge", "sharding", "infra"},
}
# They use everything, and nothing uses them: the demo trains models, benchmarks measure, the small models are trained.
ABOVE_ALL = {"pipelines.demo", "pipelines.demo_corpus", "infra.benchmarks", "infra.train_models"}
LAYERS = 8
MODULE = re.compile(rf"\b((?:{'|'.join(MAY_USE)})(?:\.\w+)+)")


def node_of(module: str) -> str:
    """The folder or top-level module that a dotted name lies in: `pipelines.manifest`, `pipelines.stage1`, `filters`."""
    room, *rest = module.split(".")
    if rest and ((ROOT / room / rest[0]).is_dir() or (ROOT / room / f"{rest[0]}.py").exists()):
        return f"{room}.{rest[0]}"
    return room


def used_by(tree: ast.AST) -> Iterator[str]:
    """The modules of ours that code imports, or names in a string that is no docstring."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            # A whole string that is a module's name, as in ["-m", "trainer_bridge.train"]; prose is no use.
            if MODULE.fullmatch(node.value) and node_of(node.value) != node.value.split(".")[0]:
                yield node.value
            yield from re.findall(rf"-m {MODULE.pattern}", node.value)


@lru_cache(1)
def edges() -> dict[str, dict[str, str]]:
    """Node → the nodes it uses → a file that does."""
    uses: dict[str, dict[str, str]] = {}
    for room in MAY_USE:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for module in used_by(ast.parse(path.read_text(encoding="utf-8"))):
                if module.split(".")[0] in MAY_USE and node_of(module) != node_of(name):
                    uses.setdefault(node_of(name), {}).setdefault(node_of(module), str(path.relative_to(ROOT)))
    return uses


def chain_below(node: str, above: tuple[str, ...] = ()) -> list[str]:
    """The longest chain of folders that a node stands on, itself last; fails on a circle."""
    assert node not in above, " → ".join([*above[above.index(node) :], node])
    below = max((chain_below(used, (*above, node)) for used in edges().get(node, ())), key=len, default=[])
    is_folder = (ROOT / node.replace(".", "/")).is_dir() and "." in node
    return [*below, node] if is_folder else below


def test_rooms_use_only_rooms_below() -> None:
    for node, uses in edges().items():
        allowed = MAY_USE[node.split(".")[0]]
        upwards = {used: file for used, file in uses.items() if used.split(".")[0] not in allowed and node not in ABOVE_ALL}
        assert not upwards, f"{node} uses {upwards}"
        assert not ABOVE_ALL & set(uses) - {node} or node in ABOVE_ALL, f"{node} uses {ABOVE_ALL & set(uses)}"


def test_folders_stand_in_few_layers_without_a_circle() -> None:
    for node in edges():
        chain = chain_below(node)
        assert len(chain) <= LAYERS, " ← ".join(chain)


def test_compat_is_the_lowest_layer() -> None:
    assert "infra.compat" not in edges() and "sharding" in {node.split(".")[0] for node in edges()}


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports."""
    return {module.split(".")[0] for module in used_by(ast.parse(path.read_text(encoding="utf-8")))}


@pytest.mark.parametrize("room", ["filters", "sharding"])
def test_filters_and_sharding_know_no_ray_and_only_scores_know_torch(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        heavy = {"ray", "deepspeed", "transformers"} | ({"torch"} if "scores" not in path.parts else set())
        assert not imported(path) & heavy, path


def test_a_module_over_three_hundred_lines_says_why_first() -> None:
    for room in MAY_USE:
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if text.count("\n") > 300:
                assert "one file because" in text.split("\n\n")[0].lower(), f"{path} has {text.count(chr(10))} lines"


@pytest.mark.parametrize(
    "job", "ingest fetch score stage1 stage2 dedup export report status run demo sql index reshard verify".split()
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
