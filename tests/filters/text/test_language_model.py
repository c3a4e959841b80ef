"""Our reader of fastText's model gives what fastText gives, to the last bit."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.text.language_model import compiled, predict, predict_by_package, probabilities, read_model
from tests.support.captions import labelled_captions

needs_compiler = pytest.mark.skipif(compiled is None, reason="installed without a C compiler")
words = st.sampled_from(["the", "de", "</s>", "__label__en", "__label__", "дом", "猫", "x", "ß", "日本", "l’été", "<b>"])
texts = st.lists(st.text(max_size=12) | st.lists(words, max_size=5).map(" ".join), max_size=8)


@needs_compiler
def test_labelled_captions_have_the_package_s_probabilities() -> None:
    captions = pc.utf8_lower(pa.array([row.caption for row in labelled_captions()], pa.string()))
    for ours, theirs in zip(predict(captions, 3, 0.06), predict_by_package(captions, 3, 0.06), strict=True):
        assert np.array_equal(ours, theirs) and ours.dtype == theirs.dtype


@needs_compiler
@settings(deadline=None, max_examples=300)
@given(texts, st.integers(1, 5), st.sampled_from([0.0, 0.06, 0.5]))
@example(["a\x00b", "a\u3000b\x1cc\u2028d\u205fe\u1680f\x85g\xa0h", " </s> behind", "", "\n"], 3, 0.0)
def test_any_texts_have_the_package_s_probabilities(captions: list[str], answers: int, least: float) -> None:
    column = pa.array(["before", *captions], pa.string()).slice(1)
    for ours, theirs in zip(predict(column, answers, least), predict_by_package(column, answers, least), strict=True):
        assert np.array_equal(ours, theirs)


def test_probabilities_stand_in_the_columns_of_the_names() -> None:
    values = probabilities(pa.array(["une femme en robe rouge", ""], pa.string()), ["en", "fr", "no such language"], 3, 0.06)
    assert values.shape == (2, 3) and values[0].argmax() == 1 and values[0, 1] > 0.9 and values[1, 1] < 0.5


@needs_compiler
def test_places_that_no_array_has_are_refused() -> None:
    model = read_model()
    arrays = model.arguments()
    changes = {
        "buckets": 64 * len(model.has_row) + 1,
        "rows": model.rows[:100],
        "has_row": model.has_row | np.uint64(1 << 7),
        "before": model.before[:-1],
        "substring_rows": model.substring_rows[1:],
        "slots": model.slots[:100],
        "left": model.left + 400,
        "nodes": model.nodes[:9],
    }
    for name, wrong in changes.items():
        with pytest.raises(ValueError, match="other shapes"):
            broken = replace(model, **{name: wrong if isinstance(wrong, int) else np.ascontiguousarray(wrong)}).arguments()
            compiled.predict(
                b"abc", np.array([0, 3], np.int32), *broken, 0.06, np.zeros((1, 3), np.int32), np.zeros((1, 3), np.float32)
            )
    for ends in ([0, 4], [-1, 3], [2, 1]):
        with pytest.raises(ValueError, match="other shapes"):
            compiled.predict(
                b"abc", np.array(ends, np.int32), *arrays, 0.06, np.zeros((1, 3), np.int32), np.zeros((1, 3), np.float32)
            )
