"""The content of a function changes with all that it reads, and with nothing else."""

import importlib
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.compat.content import State, content_digest, package_of
from infra.compat.errors import RequestError

LAB = {
    "__init__.py": "",
    "words.py": 'STOP_WORDS = ["and", "or"]\nUNREAD = 1\n\n\ndef is_stop_word(word):\n    return word in STOP_WORDS\n',
    "words.txt": "red\nblue\n",
    "rules.py": '''
"""Rules of a lab."""

import re
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from lab import words

LIMIT = 3
PATTERN = re.compile("fo+")
COLOURS = frozenset({"red", "blue", "green", "black"})
WEIGHTS = {"red": 1.0, "blue": 2.0}
TABLE = np.arange(4)
FILE = Path(__file__).with_name("words.txt")
UNREAD = 1


@dataclass(frozen=True)
class Span:
    first: int = 0

    def length(self):
        return 10 - self.first


def drops(table: object, thresholds: dict[str, float]) -> bool:
    """Is it long?"""
    from lab.words import is_stop_word

    limit: int = LIMIT  # as published
    return (
        first_helper(table) > limit
        and not is_stop_word(str(words.STOP_WORDS))
        and picked(table)
        and halved(table)
    )


def first_helper(table):
    return second_helper(table) + len(lines()) + Span(2).length()


def second_helper(table, least=5):
    if table is None:
        return first_helper(table)
    return bool(PATTERN.search(str(table))) + sum(TABLE) + len(COLOURS) + len(WEIGHTS) + least


@lru_cache(1)
def lines():
    return FILE.read_text().splitlines()


def closure(number, other=0):
    return lambda table: number + other


picked = closure(7)
halved, doubled = partial(closure, 4), partial(closure, 5)
left, right = lambda table: table - 1, lambda table: table - 2
''',
}
CHANGES = [
    ("rules.py", '"fo+"', '"fo*"'),
    ("rules.py", "LIMIT = 3", "LIMIT = 4"),
    ("rules.py", "> limit", ">= limit"),
    ("rules.py", ".length()", ".length() + 1"),
    ("rules.py", "bool(PATTERN", "not bool(PATTERN"),
    ("rules.py", '"black"', '"white"'),
    ("rules.py", '"blue": 2.0', '"blue": 2.5'),
    ("rules.py", "np.arange(4)", "np.arange(4.0)"),
    ("rules.py", "np.arange(4)", "np.arange(5)"),
    ("rules.py", "10 - self.first", "11 - self.first"),
    ("rules.py", "first: int = 0", "first: int = 1"),
    ("rules.py", "least=5", "least=6"),
    ("rules.py", ".splitlines()", ".split()"),
    ("rules.py", "number + other", "number - other"),
    ("rules.py", "closure(7)", "closure(8)"),
    ("rules.py", "partial(closure, 4)", "partial(closure, 6)"),
    ("words.py", '"or"', '"nor"'),
    ("words.py", "word in", "word not in"),
    ("words.txt", "red", "grey"),
]
NO_CHANGES = [
    ("rules.py", "# as published", "# a choice"),
    ("rules.py", '"""Is it long?"""', '"""Whether it is long."""'),
    ("rules.py", '"""Is it long?"""', ""),
    ("rules.py", "def drops", "\n\n# Moved down.\n\n\ndef drops"),
    ("rules.py", "limit: int = LIMIT", "limit = LIMIT"),
    ("rules.py", "table: object, thresholds: dict[str, float]) -> bool", "table, thresholds)"),
    ("rules.py", "second_helper(table) + len(lines())", "(second_helper(table)\n        + len(lines()))"),
    ("rules.py", '{"red", "blue", "green", "black"}', '{"black", "red", "green", "blue"}'),
    ("rules.py", "@lru_cache(1)", "@lru_cache(2)"),
    ("rules.py", "UNREAD = 1", "UNREAD = 2"),
    ("rules.py", "partial(closure, 5)", "partial(closure, 6)"),
    ("words.py", "UNREAD = 1", "UNREAD = 2"),
]


def lab(folder: Path, monkeypatch: pytest.MonkeyPatch, edit: tuple[str, str, str] | None = None) -> Any:
    """The module `lab.rules`, written into the folder and edited, as a new process would import it."""
    (folder / "lab").mkdir(parents=True)
    for name, text in LAB.items():
        if edit and name == edit[0]:
            assert text.count(edit[1]) == 1
            text = text.replace(*edit[1:])
        (folder / "lab" / name).write_text(text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "lab"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module("lab.rules")


@pytest.mark.parametrize("edit", CHANGES, ids=lambda edit: edit[2])
def test_an_edit_of_what_a_function_reads_changes_its_content(tmp_path, monkeypatch, edit) -> None:
    before = content_digest(lab(tmp_path / "before", monkeypatch).drops)
    assert content_digest(lab(tmp_path / "after", monkeypatch, edit).drops) != before


@pytest.mark.parametrize("edit", NO_CHANGES, ids=lambda edit: edit[2])
def test_comments_docstrings_layout_and_what_is_not_read_do_not(tmp_path, monkeypatch, edit) -> None:
    before = content_digest(lab(tmp_path / "before", monkeypatch).drops)
    assert content_digest(lab(tmp_path / "somewhere" / "else", monkeypatch, edit).drops) == before


def test_lambdas_on_one_line_are_told_apart(tmp_path, monkeypatch) -> None:
    before = lab(tmp_path / "before", monkeypatch)
    after = lab(tmp_path / "after", monkeypatch, ("rules.py", "lambda table: table - 2", "lambda table: table - 3"))
    assert content_digest(before.left) == content_digest(after.left) != content_digest(before.right)
    assert content_digest(before.right) != content_digest(after.right)


def test_an_installed_package_counts_by_name_unless_it_is_named(tmp_path, monkeypatch) -> None:
    edit = ("rules.py", "LIMIT = 3", "LIMIT = 4")
    plain, edited = (
        lab(tmp_path / name / "site-packages", monkeypatch, change) for name, change in (("plain", None), ("edited", edit))
    )
    assert content_digest(plain.drops) == content_digest(edited.drops)
    assert package_of(plain.drops) == package_of(plain.halved) == "lab"
    assert content_digest(plain.drops, packages={"lab"}) != content_digest(edited.drops, packages={"lab"})


def test_processes_with_other_hash_seeds_agree(tmp_path, monkeypatch) -> None:
    lab(tmp_path, monkeypatch)
    code = "from lab.rules import drops; from infra.compat.content import content_digest; print(content_digest(drops))"
    root = Path(__file__).parents[3]
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": f"{root}:{tmp_path}", "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=100,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1


def test_a_function_without_a_file_counts_by_its_code() -> None:
    def function_of(text: str) -> Any:
        names: dict[str, Any] = {"WORDS": ("a", "b")}
        exec(text, names)
        return names["test"]

    text = "def test(x, limit=2):\n    return x in {'p', 'q'} and len(WORDS) > 1"
    digest = content_digest(function_of(text))
    assert digest == content_digest(function_of(text))
    assert digest != content_digest(function_of(text.replace("> 1", "> 3")))
    assert digest != content_digest(function_of(text.replace("limit=2", "limit=3")))
    assert digest != content_digest(function_of("WORDS = ('c',)\n" + text))


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4) | st.binary(max_size=4)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(scalars, inner)
)


@settings(deadline=None)
@given(values, values)
def test_values_share_a_content_only_if_they_are_written_alike(one: Any, other: Any) -> None:
    assert (content_digest(one) == content_digest(other)) == (repr(one) == repr(other))


@pytest.mark.parametrize(
    "one, other",
    [
        (re.compile("a"), re.compile("a", re.IGNORECASE)),
        (np.array([1, 2]), np.array([[1, 2]])),
        (np.array(["a", None], object), np.array(["b", None], object)),
        (pa.array([1, 2]), pa.array([1, 3])),
        ("a".startswith, "b".startswith),
        (Mapping, dict),
        ({1, 2}, [1, 2]),
    ],
)
def test_other_values_are_told_apart_and_equal_ones_are_not(one: Any, other: Any) -> None:
    assert content_digest(one) == content_digest(one) != content_digest(other)


def test_state_is_no_content_and_what_cannot_be_read_is_named() -> None:
    cache, lock = State[str, int](), threading.Lock()

    def cached(name: str) -> int:
        return cache.setdefault(name, len(name))

    def locked() -> bool:
        return lock.locked()

    before = content_digest(cached)
    cached("red")
    assert content_digest(cached) == before
    with pytest.raises(
        RequestError, match=r"locked: the content of a lock cannot be read .* keep what decides nothing"
    ) as caught:
        content_digest(locked)
    assert "\n" not in str(caught.value)


def test_what_holds_itself_has_a_content() -> None:
    endless: list[Any] = [1]
    endless.append(endless)
    assert content_digest(endless) != content_digest([1])

    def first() -> Any:
        return functions

    def second() -> Any:
        return functions, 2

    functions = frozenset({first, second})
    assert content_digest(first) == content_digest(first) != content_digest(second)


def test_the_content_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    for name, text in (("one", "red"), ("other", "red"), ("third", "blue")):
        (tmp_path / name / "__pycache__").mkdir(parents=True)
        (tmp_path / name / "__pycache__" / "words.pyc").write_text(name)
        (tmp_path / name / "words.txt").write_text(text)
    one, other, third = (content_digest(tmp_path / name) for name in ("one", "other", "third"))
    assert one == other != third
    assert content_digest(tmp_path / "one" / "words.txt") != content_digest(tmp_path / "third" / "words.txt")
