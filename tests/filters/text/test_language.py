"""A language is that of the script, of the function words, or of the model where it is likely right; else it is unknown."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.text.language import LANGUAGE_OF_SCRIPT, LEAST_CONFIDENCE, identify
from tests.support.captions import labelled_captions

SPOKEN = {
    "A woman in a red dress walks along the beach at sunset": "en",
    "Eine Frau in einem roten Kleid geht bei Sonnenuntergang am Strand": "de",
    "Une femme en robe rouge marche sur la plage au coucher du soleil": "fr",
    "Una mujer con un vestido rojo camina por la playa al atardecer": "es",
    "Uma mulher com um vestido vermelho caminha pela praia ao pôr do sol": "pt",
    "Una donna con un vestito rosso cammina sulla spiaggia al tramonto": "it",
    "Een vrouw in een rode jurk loopt bij zonsondergang over het strand": "nl",
    "Kobieta w czerwonej sukience idzie po plaży o zachodzie słońca": "pl",
    "Женщина в красном платье идёт по пляжу на закате": "ru",
    "Жінка в червоній сукні йде по пляжу на заході сонця": "uk",
    "日落时分，一位身穿红裙的女士走在海滩上": "zh",
    "Nike 运动鞋 男款 新品": "zh",
    "夕暮れの浜辺を歩く赤いドレスの女性": "ja",
    "해질녘 해변을 걷는 빨간 드레스의 여자": "ko",
    "امرأة بفستان أحمر تمشي على الشاطئ عند الغروب": "ar",
    "لباس قرمز زنی که در ساحل قدم می‌زند": "fa",
    "लाल पोशाक में एक महिला सूर्यास्त के समय समुद्र तट पर चलती है": "hi",
    "The α-helix of a protein, drawn by hand": "en",
    "MAN IN THE RAIN WITH AN UMBRELLA": "en",
    "DER HUND UND DIE KATZE": "de",
}
UNKNOWN = ["123 – 456", "", "BLÅTT", "LINDOS", "ALTO 2200 SVR", "Anna Lee", "crawl.JPG", "Gata Nero", "KALLA NORD 5-pack", "x"]


def identified(texts: list[str]) -> list[tuple[str | None, float | None]]:
    languages, confidences = identify(pa.chunked_array([texts], pa.string()))
    return [*zip(languages.to_pylist(), confidences.to_pylist(), strict=True)]


def test_sentences_are_identified_in_capitals_too() -> None:
    assert [language for language, _ in identified([*SPOKEN])] == [*SPOKEN.values()]
    assert [language for language, _ in identified([text.upper() for text in SPOKEN])] == [*SPOKEN.values()]


@pytest.mark.parametrize("text", UNKNOWN)
def test_names_codes_and_short_captions_in_capitals_are_unknown(text: str) -> None:
    assert identified([text]) == [(None, None)]


def test_the_confidence_is_the_share_that_is_right() -> None:
    rows = [row for row in labelled_captions() if row.concern == "good"]
    answers = identified([row.caption for row in rows])
    known = [(row.language == name, confidence) for row, (name, confidence) in zip(rows, answers, strict=True) if name]
    right, claimed = (sum(values) / len(known) for values in zip(*known, strict=True))
    assert right >= 0.96 and abs(right - claimed) < 0.03 and len(known) >= 0.8 * len(rows)
    unsure = [is_right for is_right, confidence in known if confidence < 0.95]
    assert sum(unsure) >= 0.7 * len(unsure)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(max_size=30) | st.sampled_from([*SPOKEN, *UNKNOWN]), max_size=20), st.integers(0, 3))
def test_a_language_is_a_matter_of_the_caption_alone(captions: list[str], first: int) -> None:
    column = pa.chunked_array([captions[:5], captions[5:]], pa.string()).slice(first)
    languages, confidences = identify(column)
    assert len(languages) == len(confidences) == len(column)
    letters = pc.match_substring_regex(column, "|".join(LANGUAGE_OF_SCRIPT)).to_pylist()  # marks of a script name it too
    for language, confidence, has_letters in zip(languages.to_pylist(), confidences.to_pylist(), letters, strict=True):
        assert (language is None) == (confidence is None)
        assert language is None or (has_letters and LEAST_CONFIDENCE - 1e-6 <= confidence <= 1)
    alone = [identified([caption])[0] for caption in column.to_pylist()]
    assert alone == [*zip(languages.to_pylist(), confidences.to_pylist(), strict=True)]
