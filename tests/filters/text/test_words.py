"""Words are what a regular expression finds, and equal words have equal keys."""

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.text.characters import codes_of
from filters.text.words import UNSPACED, count_words, keys_of, words_of

captions = st.lists(st.text(st.sampled_from("abcABC éßяж19 -_'|.狗あกé\u0301🎉 \n"), max_size=20), max_size=8)


def words(texts: list[str]) -> list[str]:
    codes, ends = codes_of(pa.array(texts, pa.string()))
    found = words_of(codes, ends)
    text = "".join(texts)
    return [text[first : first + length] for first, length in zip(found.first.tolist(), found.length.tolist(), strict=True)]


def matched(texts: list[str]) -> list[str]:
    parts = pc.split_pattern_regex(pa.array(texts, pa.string()), rf"(?:[\s\pP\pS]|[{UNSPACED}])+").to_pylist()
    return [part for row in parts for part in row if part]


@settings(deadline=None)
@given(captions)
def test_words_are_the_runs_between_marks_spaces_and_scripts_without_spaces(texts: list[str]) -> None:
    assert words(texts) == matched(texts)


@settings(deadline=None)
@given(st.lists(st.text("abcdefgABCDEFG019", min_size=1, max_size=12), min_size=1, max_size=30))
def test_equal_words_have_equal_keys_and_others_hardly_ever(texts: list[str]) -> None:
    keys = dict(zip(texts, keys_of(texts).tolist(), strict=True))
    for one in texts:
        for other in texts:
            alike = one.lower() == other.lower()
            # What is neither among the first four characters nor among the last four is not looked at.
            blind = (len(one), one.lower()[:4], one.lower()[-4:]) == (len(other), other.lower()[:4], other.lower()[-4:])
            assert (keys[one] == keys[other]) == (alike or blind)


def test_words_of_spaced_scripts_are_counted_as_they_are_found() -> None:
    texts = ["A red fox", "", "fox-Red café", "красная лиса", "x"]
    assert sum(count_words(pa.chunked_array([texts])).to_pylist()) == len(words(texts)) == 9
