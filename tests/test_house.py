"""The house: what rooms offer can be imported and is documented, and packages say what is in them."""

import importlib
import inspect
import subprocess
import sys

import pytest

from tests import ROOT
from tests.support.packages import unnamed_modules

ROOMS = ["filters", "infra", "pipelines", "sharding", "trainer_bridge"]


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_can_be_imported_and_are_documented(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__all__
    for name in module.__all__:
        value = getattr(module, name)
        assert inspect.getdoc(value), f"{room}.{name} has no docstring"
        home = value.__name__ if inspect.ismodule(value) else value.__module__
        assert home.split(".")[0] == room, f"{room}.{name} belongs to {home}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_names_its_modules(room: str) -> None:
    """One line each, beginning with the name: `reader.py   …`, `data/   …`; `*.py` for those that anybody may add."""
    assert list(unnamed_modules(ROOT / room)) == []


def test_the_trainers_names_load_torch_only_when_used() -> None:
    code = """
import sys, trainer_bridge
assert "torch" not in sys.modules
assert trainer_bridge.Loader.__name__ == "Loader" and "torch" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("room", ROOMS)
def test_a_name_that_is_not_there_is_an_attribute_error(room: str) -> None:
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        importlib.import_module(room).nothing_of_this_name  # noqa: B018
