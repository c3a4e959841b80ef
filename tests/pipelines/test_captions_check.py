"""captions-check says of any captions what stage 2 would: how they are repaired, and which rules drop them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.compat.errors import RequestError
from pipelines import captions_check

LINES = ["A red fox in the snow", "404 Not Found - nginx", "", '{"caption": "Click to enlarge", "language": "xx"}', '{"a": 1}']


def test_every_line_has_its_verdict_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "captions.txt"
    file.write_text("\n".join(LINES) + "\n")
    captions_check.main([str(file), "--format", "json"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["caption"] for row in found] == [*LINES[:3], "Click to enlarge", LINES[4]]
    assert [row["keep"] for row in found] == [True, False, False, False, False]
    assert found[0]["reasons"] == [] and found[0]["language"] == "en" and found[0]["values"]["words"] == 6
    assert "boilerplate.error_page" in found[1]["reasons"] and "boilerplate.call_to_action" in found[3]["reasons"]
    assert found[3]["language"] == "xx" and any(reason.startswith("source_code") for reason in found[4]["reasons"])
    assert captions_check.main([str(file), "--set", "stage2.boilerplate.error_page.enabled=false"]) == {"captions": 5, "kept": 2}
    text = capsys.readouterr().out.splitlines()
    quality, parts = found[0]["quality"], found[0]["quality_parts"]
    assert text[0].startswith(f"keep  {quality:.3f}  en   -  A red fox in the snow  [characters 21, words 6")
    assert text[0].endswith(
        f"completeness {parts['completeness']:g}, " + text[0].partition("completeness ")[2].partition(", ")[2]
    )
    assert quality > 0.5 and [row["quality"] for row in found[1:]] == [0] * 4
    assert [*parts] == ["completeness", "fluency", "information", "style", "repetition"] and all(
        0 <= v <= 1 for v in parts.values()
    )


def test_json_that_is_too_deep_is_a_caption_and_half_a_letter_of_a_language_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "captions.txt"
    deep = '{"caption":' + "[" * 200_000
    file.write_text(deep + '\n{"caption": "a red fox", "language": "\\ud800"}\n')
    assert captions_check.main([str(file)]) == {"captions": 2, "kept": 1}
    captions_check.main([str(file), "--format", "json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows[0]["caption"] == deep and rows[1]["language"] == "?"


def test_a_repair_is_shown_and_can_be_switched_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "captions.txt"
    file.write_text("Two &quot;cats&quot; on a &amp;quot;roof&amp;quot;\nA red fox in the snow\n")
    captions_check.main([str(file), "--format", "json"])
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["caption"].startswith("Two &quot;") and first["repaired"] == 'Two "cats" on a "roof"'
    assert first["keep"] and first["values"]["characters"] == len(first["repaired"]) and first["values"]["words"] == 5
    assert second["repaired"] is None
    captions_check.main([str(file)])
    assert f"{first['caption']}  → {first['repaired']}  [" in capsys.readouterr().out.splitlines()[0]
    captions_check.main([str(file), "--format", "json", "--set", "stage2.repair.enabled=false"])
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first["repaired"] is None and not first["keep"] and "readability.escapes" in first["reasons"]


def test_standard_input_is_read_and_bad_bytes_are_a_reason(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.cli", "captions-check", "--format", "json"]
    done = subprocess.run(
        command, input="Ein Fuchs im Schnee\nCaf\xe9 de la Libert\xe9\n".encode("latin-1"), capture_output=True, check=True
    )
    first, second = (json.loads(line) for line in done.stdout.splitlines()[:2])
    assert first["keep"] and second["reasons"] == ["readability.mojibake"]


def test_wrong_input_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"cannot be read .* name a file of captions"):
        captions_check.main([str(tmp_path / "none")])
    (tmp_path / "bad").write_text('{"caption": 3}\n')
    with pytest.raises(RequestError, match="bad, line 1: caption and language must be text"):
        captions_check.main([str(tmp_path / "bad")])
