"""An edit of a rule's code, patterns, word lists or files changes the content of exactly the rules that depend on it."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from filters import stage1, stage2
from filters.rules import Rule, RuleSetting, configure
from tests import ROOT

DESCRIBE = """
import json
from filters import stage1, stage2
from filters.rules import configure
print(json.dumps({setting.rule.name: setting.describe() for setting in configure([*stage1.RULES, *stage2.RULES], {})}))
"""
CODES = {"completeness.file_name", "completeness.code", "placeholder.camera_name"}
EVERY_RULE = {rule.name for rule in [*stage1.RULES, *stage2.RULES]}

EDITS = [
    ("regex", "captions/gibberish.py", '"[ㄱ-ㅣ]{5,}"', '"[ㄱ-ㅣ]{6,}"', {"gibberish.keyboard_rows"}),
    ("word list", "captions/offensive.py", "wtf|omfg", "wtf|omfg|gosh", {"offensive.words"}),
    ("shared patterns", "captions/placeholder.py", r'r"_?img|_mg', r'r"_?imag|_mg', CODES),
    ("file of data", "captions/trigrams.txt", "latin ", "latin  ", {"gibberish.keyboard"}),
    ("helper of a helper", "captions/letters.py", '"NFKD"', '"NFD"', {"gibberish.keyboard"}),
    ("threshold", "stage1.py", '"min": 0.26', '"min": 0.27', {"clip_similarity"}),
    ("constant", "captions/gibberish.py", "HELD_DOWN = 6", "HELD_DOWN = 7", {"gibberish.repeated_character"}),
    ("closure", "stage1.py", 'drops=above(column("watermark"))', 'drops=above(column("unsafe"))', {"watermark"}),
    ("evaluation", "rules.py", 'setting.missing == "drop"', 'setting.missing != "keep"', EVERY_RULE),
]


def copied(folder: Path) -> Path:
    """A copy of the rooms that rules depend on."""
    for room in ("filters", "infra"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__", "models"))
    return folder


def described(folder: Path, seed: str = "0") -> dict[str, dict]:
    """What the rules of a copy depend on, as a process of its own says."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", DESCRIBE]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=200)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    return described(copied(tmp_path_factory.mktemp("before")))


@pytest.mark.parametrize("file, old, new, rules", [edit[1:] for edit in EDITS], ids=[edit[0] for edit in EDITS])
def test_an_edit_changes_exactly_the_rules_that_depend_on_it(
    tmp_path: Path, before: dict[str, dict], file: str, old: str, new: str, rules: set[str]
) -> None:
    path = copied(tmp_path) / "filters" / file
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    after = described(tmp_path)
    assert {name for name in after if after[name] != before[name]} == rules


def test_comments_docstrings_layout_and_other_processes_change_none(tmp_path: Path, before: dict[str, dict]) -> None:
    for path in copied(tmp_path).rglob("filters/**/*.py"):
        text = re.sub(r'^( *r?""")(?=\w)', r"\1In other words: ", path.read_text(), flags=re.MULTILINE)
        path.write_text("# A comment.\n\n" + text.replace("\n\n\n", "\n\n\n# Another comment.\n\n"))
    assert described(tmp_path, seed="7") == before


def test_this_process_agrees_with_others(before: dict[str, dict]) -> None:
    settings = configure([*stage1.RULES, *stage2.RULES], {})
    assert {setting.rule.name: setting.describe() for setting in settings} == before


def test_the_content_of_a_disabled_rule_does_not_matter() -> None:
    rule = stage1.RULES[0]
    edited = replace(rule, drops=lambda table, thresholds: table["width"], thresholds={"min": 9.0})

    def setting(rule: Rule, enabled: bool) -> RuleSetting:
        return configure([rule], {rule.name: {"enabled": enabled}})[0]

    assert setting(rule, True).describe() != setting(edited, True).describe()
    assert setting(rule, False).describe() == setting(edited, False).describe()
