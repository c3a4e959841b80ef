"""A run of text is found in C where Python's regular expression finds it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.images.text_run import LEAST, TEXT, compiled, has_text

PIECES = st.lists(st.tuples(st.sampled_from(b"a~ \t\n\r\x00\x1f\x7f\x80\xff"), st.integers(0, 2 * LEAST + 5)), max_size=8)


@pytest.mark.skipif(compiled is None, reason="installed without a C compiler")
@given(PIECES, st.integers(0, 300), st.integers(-300, 300))
def test_the_same_runs_are_found(pieces: list[tuple[int, int]], start: int, end: int) -> None:
    data = b"".join(bytes([byte]) * count for byte, count in pieces)
    assert has_text(data, start, max(0, len(data) + end)) == (TEXT.search(data, start, max(0, len(data) + end)) is not None)


@pytest.mark.skipif(compiled is None, reason="installed without a C compiler")
@pytest.mark.parametrize("bounds", [(-1, 2, LEAST), (0, 4, LEAST), (0, 3, 0)])
def test_places_outside_the_bytes_are_refused(bounds: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="has_run takes"):
        compiled.has_run(b"abc", *bounds)
