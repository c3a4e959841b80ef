"""What the quality score reads of tokens: a literal table, and that the compiled description is NumPy's."""

from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.quality.describe import COUNTS, compiled, describe, describe_by_numpy
from filters.text.characters import codes_of
from filters.text.tokens import tokens_of
from filters.text.vocabulary import vocabulary

needs_compiler = pytest.mark.skipif(compiled is None, reason="installed without a C compiler")
WORDS = ["the", "The", "THE", "dogs", "walking", "painted", "iPhone", "NASA", "x", "I", "猫", "1999", "12", "123", "3D", "12345"]
pieces = st.sampled_from([*WORDS, "2x4", "Qzxv", "qzxving", ",", ".", "-", "–", "|", "😀", "l’été", "woman", " ", "  "])
captions = st.lists(
    st.lists(pieces, max_size=12).map(" ".join) | st.lists(pieces, max_size=50).map("".join) | st.text(max_size=9)
)


def test_words_marks_and_repetitions_are_counted() -> None:
    codes, ends = codes_of(pa.array(["A Dog, a dog and 3 NASA engineers-", "", "猫と猫."]))
    tokens = tokens_of(codes, ends)
    described = describe(tokens, codes, vocabulary().places(tokens.keys))
    first, empty, last = (dict(zip(COUNTS, row, strict=True)) for row in described.counts.tolist())
    expected = {
        "words": 7,
        "commas": 1,
        "hyphens": 1,
        "glued": 2,
        "with_digits": 1,
        "capitals": 1,
        "repeated": 2,
        "stop_at_end": 0,
    }
    assert {name: first[name] for name in expected} == expected
    assert not any(empty.values())
    assert (last["unspaced"], last["repeated"], last["stop_at_end"], last["words"]) == (3, 1, 1, 0)


@needs_compiler
@settings(deadline=None, max_examples=200)
@given(captions)
@example(["the dog " * 40, "a"])
def test_compiled_and_numpy_describe_the_same(texts: list[str]) -> None:
    codes, ends = codes_of(pa.array(texts, pa.string()))
    tokens = tokens_of(codes, ends)
    words = vocabulary().places(tokens.keys)
    by_c, by_numpy = describe(tokens, codes, words), describe_by_numpy(tokens, codes, words)
    for field in fields(by_c):
        ours, theirs = getattr(by_c, field.name), getattr(by_numpy, field.name)
        assert np.array_equal(ours, theirs) and ours.dtype == theirs.dtype, field.name


@needs_compiler
def test_words_that_the_vocabulary_lacks_are_refused() -> None:
    codes, ends = codes_of(pa.array(["a dog"]))
    tokens = tokens_of(codes, ends)
    for words in ([0], [-1, 0], [0, len(vocabulary().keys)]):
        with pytest.raises(ValueError, match="other shapes"):
            describe(tokens, codes, np.array(words, np.int32))
