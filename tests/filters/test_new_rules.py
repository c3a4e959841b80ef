"""A new rule is one file for captions, and one more entry for columns that the manifest has."""

import json
import os
import subprocess
import sys
from pathlib import Path

from filters import stage1, stage2
from tests.filters.test_rule_content import copied

RULE = """
from filters.rules import Rule, matches

RULES = [
    Rule(
        name="{name}.seen",
        columns=("caption",),
        drops=matches("{name}"),
        catches="captions with the word",
        origin="a choice",
        kept={{"caption": "A red fox"}},
        dropped={{"caption": "A {name}"}},
    )
]
"""
NAMES = """
import json
from filters import stage1, stage2
print(json.dumps([[rule.name for rule in stage.RULES] for stage in (stage1, stage2)]))
"""


def names(folder: Path) -> list[list[str]]:
    """The names of the rules of both stages in a copy of the room."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", NAMES]
    return json.loads(subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True, timeout=200).stdout)


def test_a_caption_rule_is_one_file_and_comes_after_the_others(tmp_path: Path) -> None:
    folder = copied(tmp_path) / "filters" / "captions"
    for name in ("zebra", "alpaca"):
        (folder / f"{name}.py").write_text(RULE.format(name=name))
    old = [rule.name for rule in stage2.RULES]
    assert names(tmp_path) == [[rule.name for rule in stage1.RULES], [*old, "alpaca.seen", "zebra.seen"]]


def test_a_rule_of_stage_1_is_one_entry(tmp_path: Path) -> None:
    path = copied(tmp_path) / "filters" / "stage1.py"
    entry = RULE.format(name="llama").split("[", 1)[1]
    path.write_text(path.read_text().replace("import Rule,", "import matches, Rule,").rstrip().rstrip("]") + entry)
    assert names(tmp_path) == [[*(rule.name for rule in stage1.RULES), "llama.seen"], [rule.name for rule in stage2.RULES]]
