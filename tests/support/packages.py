"""The modules of packages, and which of them the docstrings of the packages name."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path


def unnamed_modules(room: Path) -> Iterator[tuple[str, str]]:
    """(package, module) for each module and package in a room that no line of its package's docstring begins with.

    A line that begins with `*.py` names the modules of a package to which anybody may add one.
    """
    for package in sorted(room.rglob("__init__.py")):
        lines = (ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or "").splitlines()
        patterns = {line.split()[0] for line in lines if line.strip()}
        for name in _contents(package.parent):
            if not any(fnmatchcase(name, pattern) for pattern in patterns):
                yield str(package.parent.relative_to(room.parent)), name


def _contents(folder: Path) -> list[str]:
    """The modules and packages in a package's folder."""
    modules = [path.name for path in sorted(folder.glob("*.py")) if not path.name.startswith("_")]
    return [*modules, *(f"{path.parent.name}/" for path in sorted(folder.glob("*/__init__.py")))]
