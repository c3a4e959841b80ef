"""Repeated words of a phrase are counted as a loop over its words would count them."""

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.captions.file_names import is_slug
from filters.captions.keywords import is_list, repeated_share
from filters.captions.repetition import FUNCTION_WORDS, HABITS

WORDS = ["sofa", "Sofa", "blue", "leather", "with", "the", "print", "2019", "tv", "лиса", "狗"]
captions = st.lists(st.lists(st.sampled_from([*WORDS, "|", "-", ",", "the-sofa"]), max_size=14).map(" ".join), max_size=5)


def expected(text: str) -> float:
    """The share that the measure's docstring describes, of one caption."""
    best = 0.0
    for phrase in re.split(r" \| | - |^[|-] | [|-]$|\|", text):
        words = [word.lower() for word in re.findall(r"[^\W\d_]+|\d+", phrase.replace("狗", " "))]
        function = [word for word in words if word in FUNCTION_WORDS.split()]
        counted = [w for w in words if w not in function and w not in HABITS.split() and len(w) > 2 and not w.isdigit()]
        repeated = len(counted) - len(set(counted))
        if len(words) >= 6 and repeated >= 3 and len(function) <= 0.15 * len(words):
            best = max(best, repeated / len(words))
    return best


@settings(deadline=None)
@given(captions)
def test_the_share_is_that_of_the_worst_phrase(texts: list[str]) -> None:
    table = pa.table({"caption": pa.chunked_array([texts], pa.string())})
    assert repeated_share(table).to_pylist() == pytest.approx([expected(text) for text in texts])


@pytest.mark.parametrize(
    "text, is_one",
    [
        ("a_b", True),
        ("paris-snow", True),
        ("kupu-kupu", False),
        ("Mercedes-Benz", False),
        ("forget-me-not", False),
        ("tv-unit-2", True),
        ("Garage-Door-and-Sky-in-Peoria-Arizona", True),
        ("Saint-Jean-Pied-de-Port", False),
        ("cafe-noir-scaled", True),
    ],
)
def test_slugs_and_compounds(text: str, is_one: bool) -> None:
    assert is_slug(text) == is_one


@pytest.mark.parametrize(
    "text, is_one",
    [
        ("girl, portrait, look, hair, face", True),
        ("girl, portrait, look", False),
        ("The Long Song, rock, metal, guitar, live", True),
        ("bread, cheese, wine, olives and figs", False),
        ("Rome, Lazio, Italy, Europe, Earth", False),
        ("red chair, blue chair, green chair, chair set", True),
        ("A,B,C,D,E,F", True),
        (",,,,", False),
        ("", False),
    ],
)
def test_lists_of_tags_and_of_things(text: str, is_one: bool) -> None:
    assert is_list(text) == is_one
