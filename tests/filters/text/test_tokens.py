"""Captions cut into tokens: what a token is, and that the compiled cutter and NumPy's give the same arrays."""

from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.text.characters import codes_of
from filters.text.tokens import compiled, keys_of, repetitions, tokens_by_numpy, tokens_of

ODD = "aAé1२'’ -–.,…猫ねก\u0301\u200b\n_😀İß"
captions = st.lists(st.text(st.sampled_from(ODD), max_size=12) | st.text(max_size=12), max_size=6)


def texts(caption: str) -> list[str]:
    tokens = tokens_of(*codes_of(pa.array([caption])))
    return [caption[start : start + length] for start, length in zip(tokens.start, tokens.length, strict=True)]


@pytest.mark.parametrize(
    "caption, expected",
    [
        ("It's a dog, isn’t it?", ["It's", "a", "dog", ",", "isn’t", "it", "?"]),
        ("猫と two--cats 3x4", ["猫", "と", "two", "--", "cats", "3x4"]),
        ("'quoted' rock'n'roll'", ["'", "quoted", "'", "rock'n'roll", "'"]),
        ("", []),
        ("  ", []),
    ],
)
def test_a_token_is_a_word_a_number_a_run_of_one_mark_or_a_character_of_an_unspaced_script(
    caption: str, expected: list[str]
) -> None:
    assert texts(caption) == expected


@pytest.mark.skipif(compiled is None, reason="installed without a C compiler")
@settings(deadline=None, max_examples=300)
@given(captions)
@example(["a", "'b", "c'", "'", "d'e"])
def test_compiled_and_numpy_cut_the_same_tokens(texts: list[str]) -> None:
    codes, ends = codes_of(pa.array(texts, pa.string()))
    by_c, by_numpy = tokens_of(codes, ends), tokens_by_numpy(codes, ends)
    for field in fields(by_c):
        ours, theirs = getattr(by_c, field.name), getattr(by_numpy, field.name)
        assert np.array_equal(ours, theirs) and ours.dtype == theirs.dtype, field.name


@pytest.mark.skipif(compiled is None, reason="installed without a C compiler")
@pytest.mark.parametrize("ends", [[0, 4], [2, 1, 3], [-1, 3], []])
def test_captions_that_reach_beyond_the_characters_are_refused(ends: list[int]) -> None:
    with pytest.raises(ValueError, match="other lengths"):
        tokens_of(np.frombuffer(b"abc", np.uint8), np.array(ends, np.int32))
    with pytest.raises(ValueError, match="other lengths"):
        tokens_of(np.array([0x110000], np.uint32), np.array([0, 1], np.int32))


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["dog", "Dog", "cat", "猫"]), max_size=6), max_size=4))
def test_repetitions_are_the_words_beyond_the_first_of_each(words: list[list[str]]) -> None:
    tokens = tokens_of(*codes_of(pa.array([" ".join(own) for own in words], pa.string())))
    expected = [len(own) - len({word.lower() for word in own}) for own in words]
    assert repetitions(tokens, np.ones(len(tokens.rows), bool)).tolist() == expected


def test_a_word_has_the_same_key_wherever_it_stands_and_whatever_its_case() -> None:
    tokens = tokens_of(*codes_of(pa.array(["a DOG’S life", "dog's"])))
    assert tokens.keys[1] == tokens.keys[3] == keys_of(["dog's"])[0]
    assert len(np.unique(tokens.keys)) == 3
