"""captions-check says of any captions what stage 2 would, and identification names languages by script or model."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.text.language import LANGUAGE_OF_SCRIPT, identify
from infra.compat.errors import RequestError
from pipelines import captions_check

SPOKEN = {
    "A woman in a red dress walks along the beach at sunset": "en",
    "Eine Frau in einem roten Kleid geht bei Sonnenuntergang am Strand": "de",
    "Une femme en robe rouge marche sur la plage au coucher du soleil": "fr",
    "Una mujer con un vestido rojo camina por la playa al atardecer": "es",
    "Женщина в красном платье идёт по пляжу на закате": "ru",
    "日落时分，一位身穿红裙的女士走在海滩上": "zh",
    "Nike 运动鞋 男款 新品": "zh",
    "夕暮れの浜辺を歩く赤いドレスの女性": "ja",
    "해질녘 해변을 걷는 빨간 드레스의 여자": "ko",
    "امرأة بفستان أحمر تمشي على الشاطئ عند الغروب": "ar",
    "लाल पोशाक में एक महिला सूर्यास्त के समय समुद्र तट पर चलती है": "hi",
    "The α-helix of a protein, drawn by hand": "en",
    "123 – 456": None,
    "": None,
}


def test_captions_are_identified_by_script_or_model() -> None:
    languages, confidences = identify(pa.chunked_array([[*SPOKEN]]))
    assert languages.to_pylist() == [*SPOKEN.values()]
    for language, confidence in zip(languages.to_pylist(), confidences.to_pylist(), strict=True):
        assert (confidence is None) == (language is None) and (confidence is None or 0.3 < confidence <= 1)


@given(st.lists(st.text(max_size=30), max_size=20))
def test_a_language_is_a_matter_of_the_caption_alone(captions: list[str]) -> None:
    column = pa.chunked_array([pa.array(captions, pa.string())])
    together = identify(column)
    letters = pc.match_substring_regex(column, "|".join(LANGUAGE_OF_SCRIPT)).to_pylist()  # marks of a script name it too
    assert [language is not None for language in together[0].to_pylist()] == letters
    for row, caption in enumerate(captions):
        alone = identify(pa.chunked_array([[caption]]))
        assert [column[0].as_py() for column in alone] == [column[row].as_py() for column in together]


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
    assert text[0].startswith("keep  en   -  A red fox in the snow  [characters 21, words 6")


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
