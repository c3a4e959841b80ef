"""The checklists of CONTRIBUTING.md: sections with files, commands, and the words that the commands print."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests import ROOT

SECTION = re.compile(r"^### (.+?)\n(.*?)(?=^### |\Z)", re.M | re.S)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
PLACE = re.compile(r'^# (\S+?)(?:, after "(.+)")?\n')


class Checklist(NamedTuple):
    """A section of CONTRIBUTING.md: (file, line to insert after, text) of each block, the commands, the words they print."""

    name: str
    files: list[tuple[str, str, str]]
    commands: str
    words: list[str]


def checklists() -> list[Checklist]:
    """The sections below "Checklists"."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Checklists")[2]
    found = []
    for name, body in SECTION.findall(text):
        files, commands = [], ""
        for language, block in BLOCK.findall(body):
            if language == "sh":
                commands = block
                continue
            place = PLACE.match(block)
            assert place, f"a block of {name!r} does not begin with its file"
            files.append((place[1], place[2] or "", block[place.end() :]))
        words = re.findall(r"`([^`]+)`", next(line for line in body.splitlines() if line.startswith("→")))
        found.append(Checklist(name, files, commands, words))
    return found
