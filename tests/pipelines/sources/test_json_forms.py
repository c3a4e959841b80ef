"""The columns of JSON are those of all its objects, whatever the first ones have."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from pipelines.manifest.parts import Part
from pipelines.sources import source_named
from pipelines.sources.files import inspect, read_rows
from pipelines.sources.samples import to_samples
from pipelines.sources.settings import IngestSettings
from tests.support.text_files import compressed

SETTINGS = IngestSettings()
NAMES = ("caption", "width", "height")


def samples(path: Path, source: str, part_rows: int) -> list[dict[str, object]]:
    """url, caption, width and scores of the samples, read in parts of so many rows."""
    origin, rows = source_named(source), list[dict[str, object]]()
    total = inspect(str(path), origin, SETTINGS).file.rows
    for first in range(0, total, part_rows):
        part = Part(source, 0, first, min(part_rows, total - first))
        result = to_samples(read_rows(str(path), origin, first, part.rows, SETTINGS), origin, part, SETTINGS)
        assert result.counts["rejected"] == 0
        rows += result.table.select(["url", *NAMES, "clip_similarity", "aesthetic"]).to_pylist()
    return rows


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sets(st.sampled_from(NAMES)), min_size=1, max_size=8),
    st.sampled_from([1, 120]),
    st.sampled_from(["lines", "array"]),
    st.sampled_from([1000, 50]),
)
def test_a_column_is_read_wherever_it_is_first_seen(
    tmp_path_factory: pytest.TempPathFactory, keys: list[set[str]], repeat: int, form: str, part_rows: int
) -> None:
    values = {"caption": "a fox", "width": 640, "height": 480}
    objects = [{"url": f"http://a/{n}", **{key: values[key] for key in have}} for n, have in enumerate(keys * repeat)]
    objects = (
        [*objects[:-1], {"url": "http://a/last", **values}] if repeat > 1 else [*objects, {"url": "http://a/last", **values}]
    )
    path = tmp_path_factory.mktemp("json") / "file"
    text = "\n".join(map(json.dumps, objects)) if form == "lines" else json.dumps(objects)
    path.write_bytes(compressed(text.encode(), "gzip"))
    expected = [(row["url"], row.get("caption", ""), row.get("width"), row.get("height")) for row in objects]
    result = samples(path, "pairs", part_rows)
    assert [(row["url"], row["caption"], row["width"], row["height"]) for row in result] == expected


@pytest.mark.parametrize("form", ["lines", "array"])
def test_joined_objects_may_name_a_column_in_several_ways(tmp_path: Path, form: str) -> None:
    objects = [{"URL": "http://a/1", "TEXT": "a fox"}, {"url": "http://a/2", "caption": "a dog", "similarity": 0.5}]
    objects = [*objects[:1] * 110, *objects[1:]]
    text = "\n".join(map(json.dumps, objects)) if form == "lines" else json.dumps(objects)
    (tmp_path / "file").write_text(text)
    assert [(row["url"], row["caption"]) for row in samples(tmp_path / "file", "laion2b-en", 50)] == [
        *[("http://a/1", "a fox")] * 110,
        ("http://a/2", "a dog"),
    ]
    notice = inspect(str(tmp_path / "file"), source_named("laion2b-en"), SETTINGS).notice
    assert "TEXT is read from caption where an object lacks it" in notice


def test_a_score_of_another_model_is_not_read_in_its_place(tmp_path: Path) -> None:
    objects = [{"url": "http://a/1", "text": "x", "AESTHETIC_SCORE": 6}, {"url": "http://a/2", "text": "y", "aesthetic": 5}]
    (tmp_path / "file").write_text("\n".join(map(json.dumps, objects)))
    assert [row["aesthetic"] for row in samples(tmp_path / "file", "laion2b-en", 9)] == [6, None]


def test_a_first_object_of_any_length_is_read(tmp_path: Path) -> None:
    objects = [{"picture": "x" * 200_000, "url": f"http://a/{n}", "caption": "a fox"} for n in range(3)]
    (tmp_path / "file").write_text("\n".join(map(json.dumps, objects)))
    assert [row["url"] for row in samples(tmp_path / "file", "pairs", 2)] == ["http://a/0", "http://a/1", "http://a/2"]


def test_a_column_that_no_object_has_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"url": "http://a/1"}\n' * 300)
    with pytest.raises(RequestError, match=r"has no column caption \(it has url\)"):
        inspect(str(tmp_path / "file"), source_named("pairs"), SETTINGS)


@pytest.mark.parametrize("form", ["lines", "array"])
def test_nan_is_no_caption(tmp_path: Path, form: str) -> None:
    objects = [{"url": f"http://a/{n}", "caption": caption} for n, caption in enumerate([float("nan"), "NaN", 7, True, None])]
    (tmp_path / "file").write_text("\n".join(map(json.dumps, objects)) if form == "lines" else json.dumps(objects))
    assert [row["caption"] for row in samples(tmp_path / "file", "pairs", 9)] == ["", "NaN", "7", "true", ""]
