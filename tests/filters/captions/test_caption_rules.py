"""A caption's verdict does not depend on the captions around it; measures are what their definitions say."""

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters import stage2
from filters.captions.boilerplate import is_repeated
from filters.captions.gibberish import HELD_DOWN, IMPROBABLE, UNSEEN
from filters.captions.letters import ALPHABETS, folded, trigrams
from filters.captions.offensive import severity
from filters.rules import configure, evaluate
from tests.support.captions import labelled_captions

SETTINGS = {setting.rule.name: setting for setting in configure(stage2.RULES, {})}
LINES = [row.caption for row in labelled_captions()]
captions = st.one_of(
    st.sampled_from(LINES),
    st.text(max_size=30),
    st.text("ab ёж狗🎉é\u0301-|", max_size=30),
    st.text("sdfkjhqwпрлд ", max_size=20),
)


def judged(texts: list[str]) -> list[list[str]]:
    table = stage2.columns_of(pa.chunked_array([texts], pa.string()))
    return evaluate(table, list(SETTINGS.values()), "")[1].to_pylist()


@settings(deadline=None, max_examples=25)  # each call compiles all patterns
@given(st.lists(captions, max_size=12))
def test_a_verdict_does_not_depend_on_the_captions_around_it(texts: list[str]) -> None:
    assert judged(texts) == [judged([text])[0] for text in texts]


def measured(rule: str, text: str) -> float:
    measure = SETTINGS[rule].rule.measure
    assert measure is not None
    return measure(pa.table({"caption": pa.chunked_array([[text]])})).to_pylist()[0]


@settings(deadline=None)
@example(["dddfodded"])  # a third of its letters
@given(st.lists(st.text("sdfkjhqwertyuiopлджфывапro", min_size=1, max_size=9), min_size=1, max_size=4))
def test_noise_is_the_share_of_words_without_known_trigrams(words: list[str]) -> None:
    noise = 0
    for word in " ".join(words).split():
        for alphabet, seen in trigrams().items():
            letters = [0, *(ALPHABETS[alphabet].find(letter) + 1 for letter in word), 0]
            if all(letters[1:-1]):
                size = len(ALPHABETS[alphabet]) + 1
                unseen = sum(
                    not seen[(a * size + b) * size + c] for a, b, c in zip(letters, letters[1:], letters[2:], strict=False)
                )
                least, share = UNSEEN[alphabet], IMPROBABLE[alphabet]
                noise += len(word) * (unseen >= least and unseen >= share * len(word) and len(word) >= 5)
    if all(len({letter in ALPHABETS["latin"] for letter in word}) == 1 for word in words):
        assert measured("gibberish.keyboard", " ".join(words)) == pytest.approx(noise / sum(map(len, words)))


@settings(deadline=None)
@given(st.text("ab", max_size=8), st.sampled_from("aя狗"), st.integers(1, 12), st.text("cd ", max_size=8))
def test_a_key_is_held_down_from_six_letters_on(before: str, key: str, times: int, after: str) -> None:
    text = before.rstrip(key) + key * times + after
    share = measured("gibberish.repeated_character", text)
    runs = max(
        (len(run) for run in "".join(a if a == b else a + " " for a, b in zip(text, text[1:] + " ", strict=True)).split()),
        default=0,
    )
    assert (share > 0) == (runs >= HELD_DOWN)


@settings(deadline=None, max_examples=10)
@given(st.lists(st.sampled_from("red dress summer sale 狗 猫 лиса".split()), min_size=3, max_size=5), st.integers(2, 4))
def test_a_phrase_over_and_over_is_repeated(words: list[str], times: int) -> None:
    if sum(len(word) == 1 for word in words) == 0:
        assert is_repeated(" - ".join([" ".join(words)] * times))
        assert judged([" - ".join([" ".join(words)] * times)])[0].count("boilerplate.repetition") == 1
    assert not is_repeated(" ".join([*dict.fromkeys(words)]))


@pytest.mark.parametrize(
    "text", ["New York, New York", "Bora Bora", "Row, row, row your boat", "Mississippi", "寻寻觅觅，冷冷清清", ""]
)
def test_names_and_poems_are_not_repeated(text: str) -> None:
    assert not is_repeated(text)


@settings(deadline=None)
@given(st.sampled_from("shit ass cock tit fuck жопа".split()), st.text("abcdghж", min_size=1, max_size=4))  # no "face"
def test_a_word_inside_another_does_not_count(word: str, letters: str) -> None:
    around = pa.table({"caption": pa.chunked_array([[f"{letters}{word}{letters}"]])})
    assert severity(around).to_pylist() == [0]


def test_severity_is_that_of_the_worst_word() -> None:
    texts = ["a damn shame", "what the fuck", "damn you fucking idiot", "操场上的学生", "操你妈", "Scunthorpe", "Блин с икрой"]
    table = pa.table({"caption": pa.chunked_array([texts])})
    assert severity(table).to_pylist() == [1, 2, 2, 0, 2, 0, 1]


def test_letters_are_folded_to_their_alphabet() -> None:
    assert folded("Éß Łódź Ærø Йод") == "es lodz aro йод"
