"""The stage-2 rules on a labelled set of captions: precision and recall by concern, good and weak captions kept by language.

The authors of the rules wrote `tests/data/captions` too, so its figures show that the rules do what they are meant to do, not how
well they do on the web.
"""

from collections import Counter

import pyarrow as pa
import pytest

from filters import stage2
from filters.rules import configure, evaluate
from tests.support.captions import labelled_captions

CONCERNS = (
    "length",
    "completeness",
    "readability",
    "gibberish",
    "boilerplate",
    "keywords",
    "offensive",
    "placeholder",
    "source_code",
)
HARMLESS = {"good", "weak"}
Labelled = list[tuple[str, str, str, set[str]]]  # language, concern, caption, concerns of the rules that fired


@pytest.fixture(scope="module")
def judged() -> Labelled:
    rows = labelled_captions()
    captions = pa.chunked_array([[row.caption for row in rows]])
    _, reasons = evaluate(stage2.columns_of(captions), configure(stage2.RULES, {}), "")
    return [(*row, {name.split(".")[0] for name in names}) for row, names in zip(rows, reasons.to_pylist(), strict=True)]


def test_the_set_is_large_and_has_every_concern_and_ten_languages(judged: Labelled) -> None:
    assert len(judged) >= 1_500
    assert sum(language != "en" for language, *_ in judged) >= 0.4 * len(judged)
    assert {concern for _, concern, *_ in judged} == {*CONCERNS, *HARMLESS}
    assert {language for language, *_ in judged} >= {"en", "zh", "de", "fr", "es", "ru", "ja", "ko", "ar", "hi"}


def test_precision_and_recall(judged: Labelled) -> None:
    dropped = [concern for _, concern, _, fired in judged if fired]
    right = sum(concern not in HARMLESS for concern in dropped)
    assert right >= 0.97 * len(dropped)
    assert right >= 0.92 * sum(concern not in HARMLESS for _, concern, *_ in judged)


@pytest.mark.parametrize("concern", CONCERNS)
def test_each_concern(judged: Labelled, concern: str) -> None:
    hits = [of == concern for _, of, _, fired in judged if concern in fired]
    assert sum(hits) >= 0.85 * sum(of == concern for _, of, *_ in judged)
    assert sum(hits) >= 0.9 * len(hits)


@pytest.mark.parametrize("grade, most_lost", [("good", 0.015), ("weak", 0.05)])
def test_captions_without_a_defect_stay_in_every_language(judged: Labelled, grade: str, most_lost: float) -> None:
    harmless = Counter(language for language, concern, *_ in judged if concern == grade)
    lost = Counter(language for language, concern, _, fired in judged if concern == grade and fired)
    assert not {language: (lost[language], count) for language, count in harmless.items() if lost[language] > most_lost * count}
