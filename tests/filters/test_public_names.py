"""The public names of the room exist, its usage example runs, and importing it is cheap."""

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import filters

PACKAGES = sorted(path.parent for path in Path(filters.__file__).parent.rglob("__init__.py"))


@pytest.mark.parametrize("name", filters.__all__)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    assert (getattr(filters, name).__doc__ or "").strip()


def test_the_public_names_are_sorted_and_once_each() -> None:
    assert filters.__all__ == sorted(set(filters.__all__))


def test_the_example_of_the_package_runs_as_written() -> None:
    result = doctest.testmod(filters)
    assert result.attempted >= 5 and not result.failed


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_the_docstring_of_a_package_names_its_modules_one_a_line(package: Path) -> None:
    lines = (package / "__init__.py").read_text().splitlines()
    modules = {path.name for path in package.glob("*.py")} | {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    named = {module: sum(line.startswith(f"{module} ") for line in lines) for module in modules - {"__init__.py"}}
    # A line `*.py` stands for the modules that anybody may add.
    fewest = 0 if any(line.startswith("*.py ") for line in lines) else 1
    assert all(fewest <= count <= 1 for count in named.values()), named


def test_importing_the_room_loads_no_model_library() -> None:
    code = """
import sys
import filters
heavy = {"ahocorasick_rs", "duckdb", "fasttext", "onnxruntime", "PIL", "pydantic", "ray", "torch"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
