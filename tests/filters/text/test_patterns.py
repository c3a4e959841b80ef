"""Searching many patterns through their literals gives exactly what RE2 gives for each pattern on each caption."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.text import patterns
from filters.text.literals import literals
from filters.text.patterns import match_any, of_every_script, prepare


@pytest.mark.parametrize(
    "pattern, needed",
    [
        (r"click (?:here|to (?:enlarge|zoom))", {"click here", "click to enlarge", "click to zoom"}),
        (r"(?i)^\W*Sold[ -]out\W*$", {"sold out", "sold-out"}),
        (r"\{\{.*?\}\}", {"{{"}),
        (r"cookies? (?:policy|use)", {"cookie policy", "cookies policy", "cookie use", "cookies use"}),
        (r"!{6,}|-{6,}", {"!!!!!!", "------"}),
        (r"a(?:bc)?d\s+e", {"ad", "abcd"}),
        (r"[^\pL]\d+|word", None),
        (r"(?:word)?", None),
        (r"[\x{4E00}-\x{4E02}]页", {"一页", "丁页", "丂页"}),
    ],
)
def test_literals_are_those_that_a_pattern_cannot_match_without(pattern: str, needed: set[str] | None) -> None:
    assert literals(pattern) == needed


PATTERNS = sorted(patterns._prepared)  # those of all rules: `import filters` prepares them
PIECES = sorted({text for pattern in PATTERNS for text in literals(pattern) or ()} | set(" .,-:\n\"'()0123456789aAbBиИ图é"))
captions_of_pieces = st.lists(st.sampled_from(PIECES) | st.sampled_from(PIECES).map(str.upper), max_size=7).map("".join)


@settings(deadline=None, max_examples=15)
@given(st.lists(captions_of_pieces, max_size=20), st.integers(0, 3))
def test_a_pattern_matches_exactly_the_captions_that_re2_matches(texts: list[str], first: int) -> None:
    captions = pa.chunked_array([texts[:5], texts[5:]], pa.string()).slice(first)
    for pattern in PATTERNS:
        assert match_any(captions, [pattern]).tolist() == pc.match_substring_regex(captions, pattern).to_pylist(), pattern


def test_patterns_prepared_later_match_as_well() -> None:
    captions = pa.chunked_array([["a red fox", "A WELL", "a well-dressed fox"]])
    assert match_any(captions, prepare(["fox"])).tolist() == [True, False, True]
    assert match_any(captions, prepare([r"well\b"], ignore_case=True)).tolist() == [False, True, True]


@settings(deadline=None)
@given(st.text("aя狗1_ -.", max_size=12))
def test_words_are_of_every_script(text: str) -> None:
    column = pa.array([text])
    words = pc.count_substring_regex(column, of_every_script(r"\w")).to_pylist()
    others = pc.count_substring_regex(column, of_every_script(r"[\W]")).to_pylist()
    assert words == [sum(letter.isalnum() or letter == "_" for letter in text)]
    assert others == [len(text) - words[0]]
    assert of_every_script(r"[\w.-]+\\w\d") == r"[\pL\pM\pN_.-]+\\w\d"


def test_a_pattern_prepared_in_another_process_matches_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(["fox", r"well\b"])
    monkeypatch.setattr(patterns, "_prepared", type(patterns._prepared)())  # as in a worker, to which rules come by pickle
    captions = pa.chunked_array([["a red fox", "a well", "welling"]])
    assert match_any(captions, prepared).tolist() == [True, True, False]
