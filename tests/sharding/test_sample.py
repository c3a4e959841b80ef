"""Metadata that others wrote make pairs that can be used, whatever they hold."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sharding import Sample

names = st.sampled_from(["caption", "sample_id", "captions", "source"])
scalars = st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text() | st.just("\ud800")
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)


@settings(deadline=None)
@given(st.dictionaries(names, values) | st.lists(st.fixed_dictionaries({"caption": st.text()}, optional={"sample_id": values})))
def test_captions_of_any_kind_are_pairs_with_an_id_and_a_text(metadata: Any) -> None:
    document = {"captions": metadata} if isinstance(metadata, list) else metadata
    pairs = Sample(7, b"", "own", json.dumps(document).encode()).pairs()
    assert pairs
    for pair in pairs:
        assert 0 <= pair.sample_id < 1 << 64
        assert pair.text.encode() is not None and (pair.text == "own" or isinstance(json.loads(pair.json), dict))


def test_captions_of_ours_keep_their_ids() -> None:
    captions = [
        {"caption": "a", "sample_id": 3, "source": "coyo"},
        {"caption": "b", "sample_id": (1 << 64) - 1},
        {"caption": "c"},
    ]
    pairs = Sample(7, b"", "a", json.dumps({"captions": captions, "width": 5}).encode()).pairs()
    assert [(pair.sample_id, pair.text) for pair in pairs] == [(3, "a"), ((1 << 64) - 1, "b"), (7, "c")]
    assert json.loads(pairs[0].json) == {"sample_id": 3, "source": "coyo", "width": 5}
