"""Metrics of answers, on tables whose figures are worked out by hand, and questions in the forms that they are published in."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from infra.compat.errors import RequestError
from tests import ROOT
from trainer_bridge.evaluation.answers import METRICS, overlap, yes_no
from trainer_bridge.evaluation.cider import cider
from trainer_bridge.evaluation.questions import read_questions

MODEL = ROOT / "infra" / "models" / "internvl"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("metric", "answer", "references", "figure"),
    [
        ("exact", "A dog.", ["cat", "a  dog"], 1),
        ("exact", "dogs", ["dog"], 0),
        ("relaxed", "104", ["100"], 1),
        ("relaxed", "106", ["100"], 0),
        ("relaxed", "1,020", ["1000"], 1),
        ("relaxed", "51%", ["0.5"], 1),
        ("relaxed", "0.01", ["0"], 0),
        ("relaxed", "Blue", ["blue."], 1),
        ("relaxed", "Nan", ["nan"], 1),
        ("anls", "kitten", ["kitten"], 1),
        ("anls", "kitten", ["kitchen"], 1 - 2 / 7),
        ("anls", "abcd", ["abxy"], 0),  # half is another
        ("anls", "", ["word"], 0),
        ("boxes", "<box>[[100, 100, 200, 200]]</box>", ["[100, 100, 200, 200]"], 1),
        ("boxes", "[100, 100, 200, 149]", ["[100, 100, 200, 200]"], 0),
        ("boxes", "[100, 100, 200, 150]", ["[0, 0, 1, 1]", "[100, 100, 200, 200]"], 1),
        ("boxes", "left of the tree", ["[100, 100, 200, 200]"], 0),
    ],
)
def test_an_answer_counts_as_published(metric: str, answer: str, references: list[str], figure: float) -> None:
    (value,) = METRICS[metric]([answer], [references]).values()
    assert value == pytest.approx(figure)


def test_yes_and_no_are_told_apart_and_counted_as_pope_does() -> None:
    said = ["Yes, there is.", "No.", "There is not a dog. Yes", "yes", "A dog"]
    true = [["yes"], ["yes"], ["no"], ["no"], ["yes"]]
    figures = yes_no(said, true)
    assert figures == pytest.approx({"accuracy": 3 / 5, "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "yes_ratio": 3 / 5})


@given(st.lists(st.integers(0, 9), min_size=8, max_size=8))
def test_overlap_is_a_share_and_whole_for_equal_boxes(numbers: list[int]) -> None:
    first, second = ((n[0], n[1], n[0] + n[2] + 1, n[1] + n[3] + 1) for n in (numbers[:4], numbers[4:]))
    assert 0 <= overlap(first, second) == overlap(second, first) <= 1 == pytest.approx(overlap(first, first))


REFERENCES = [
    ["a dog runs on the green grass", "the brown dog is running in a field"],
    ["two cats sleep on a red sofa", "a pair of cats sleeping on the couch"],
    ["a man rides a bicycle in the rain", "someone cycling on a wet street"],
]
PUBLISHED = 1.3366062420841196  # of pycocoevalcap 1.2, on these words
CAPTIONS = ["a brown dog runs in a field", "two cats on a sofa", "a plate of food"]


def test_cider_is_that_of_the_published_program_where_words_are_split_alike() -> None:
    assert cider(CAPTIONS, REFERENCES) == pytest.approx(PUBLISHED, rel=1e-6)
    assert cider([row[0] for row in REFERENCES], REFERENCES) > cider(CAPTIONS, REFERENCES) > cider(CAPTIONS[::-1], REFERENCES)


def write(path: Path, *entries: Any) -> str:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return str(path)


def test_questions_are_read_in_the_usual_forms(tmp_path: Path) -> None:
    path = write(
        tmp_path / "q.jsonl",
        {"image": "a.png", "question": "what?", "answer": "dog"},
        {"image": "a.png", "question": "what?", "answers": ["dog", "hound"]},
        {"image": "a.png", "question": "what?", "answers": [{"answer": "dog", "answer_id": 1}]},
        {"image": "a.png", "text": "Is there a dog?", "label": "yes"},
        {"image": "a.png", "sent": "the dog", "bbox": [64, 0, 128, 32], "width": 128, "height": 64},
        {"image": ["a.png", "b.png"], "question": "<image> or <image>?", "answer": 2},
        {"question": "what?", "answer": "half \ud83d"},
    )
    questions = read_questions(path, suffix="Answer with one word.")
    assert [each.references for each in questions] == [
        ["dog"],
        ["dog", "hound"],
        ["dog"],
        ["yes"],
        ["[500, 0, 1000, 500]"],
        ["2"],
        ["half ?"],
    ]
    assert questions[0].dialogue.messages[0].texts == ("", "\nwhat?\nAnswer with one word.")
    assert "<ref>the dog</ref>" in questions[4].dialogue.messages[0].texts[1]
    assert [len(each.dialogue.pictures) for each in questions] == [1, 1, 1, 1, 1, 2, 0]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"image": "a.png", "answer": "x"}, "it has no question"),
        ({"image": "a.png", "question": "x"}, "or no answer"),
        ({"image": "a.png", "question": "x", "answers": []}, "its answers is empty"),
        ({"image": "a.png", "sent": "x", "bbox": [1, 2, 3, 4]}, "needs four numbers, and width and height"),
        ({"image": "a.png", "sent": "x", "bbox": 5, "width": 9, "height": 9}, "needs four numbers"),
        ({"image": "a.png", "sent": "x", "bbox": [1, 2, 3, 4], "width": 0, "height": 9}, "needs four numbers"),
        ({"image": "a.png", "sent": "x", "bbox": [1, 2, 3, float("nan")], "width": 9, "height": 9}, "needs four numbers"),
    ],
)
def test_a_file_without_questions_is_told_in_one_line(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as error:
        read_questions(write(tmp_path / "q.jsonl", entry))
    assert "entry 1" in str(error.value) and "\n" not in str(error.value)


def test_a_model_answers_a_file_of_questions(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), "red").save(tmp_path / "a.png")
    entry = {"question": "Describe the picture in one sentence.", "answer": "A giraffe."}
    path = write(tmp_path / "q.jsonl", {**entry, "image": "a.png"}, entry, {**entry, "image": "gone.png"})
    command = [sys.executable, "-m", "trainer_bridge.evaluate", "--checkpoint", str(MODEL), "--questions", path, "--tokens", "8"]
    command += ["--metric", "anls", "--metric", "exact"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    figures = json.loads(done.stdout)
    assert done.returncode == 1 and "1 could not be read" in done.stderr
    assert (figures["answered"], figures["unreadable"]) == (2, 1)
    assert 0 <= figures["anls"] <= 1 and "exact" in figures and all(each["answer"] for each in figures["answers"])
