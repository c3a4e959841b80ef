"""Values of published columns are read from any type that holds them; a bad one costs its row, never the file."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part
from pipelines.runtime.step import PartResult
from pipelines.sources import source_named, sources
from pipelines.sources.files import inspect, read_rows
from pipelines.sources.laion import SCORES
from pipelines.sources.published import PUBLISHED
from pipelines.sources.rows import Rows
from pipelines.sources.samples import to_samples
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Source

DEFAULTS = IngestSettings()
NUMBERS = [name for name, kind in PUBLISHED.items() if kind in (pa.int32(), pa.float32())]
NEEDED = ("url", "caption")


def published_names(source: Source) -> dict[str, str]:
    """Our column → the first published name that the source reads it from."""
    names = source.names((), DEFAULTS) if callable(source.names) else source.names
    return {ours: theirs if isinstance(theirs, str) else theirs[0] for ours, theirs in names.items()}


def ingested(source: Source, table: pa.Table, settings: IngestSettings = DEFAULTS) -> PartResult:
    return to_samples(Rows(table), source, Part(source.name, 0, 0, len(table)), settings)


def with_pairs(source: Source, rows: int, **columns: pa.Array) -> pa.Table:
    """A table of the source with sound URLs and captions, and these columns by our names."""
    names = published_names(source)
    pairs = {"url": pa.array([f"http://a/{row}" for row in range(rows)]), "caption": pa.array(["a"] * rows)}
    more = {name: pa.array([0] * rows) for name in source.required}
    return pa.table({**more, **{names[ours]: column for ours, column in (pairs | columns).items()}})


def numeric_columns() -> Iterator[tuple[str, str]]:
    for source in sources().values():
        yield from ((source.name, ours) for ours in published_names(source) if ours in NUMBERS)


@pytest.mark.parametrize("source, column", numeric_columns())
@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16(), pa.string(), pa.binary()], ids=str)
def test_numbers_that_are_none_are_null_in_every_source(source: str, column: str, kind: pa.DataType) -> None:
    values = pa.array([0.5, float("nan"), float("inf"), float("-inf"), None, 2.0], pa.float64())
    written = values.cast(pa.string()).cast(kind) if kind in (pa.string(), pa.binary()) else values.cast(kind)
    result = ingested(source_named(source), with_pairs(source_named(source), 6, **{column: written}))
    first = 0 if column in ("width", "height") else 0.5
    assert result.table[column].to_pylist() == [first, None, None, None, None, 2]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int64(), pa.uint64(), pa.float32(), pa.float64()], ids=str)
@pytest.mark.parametrize("by_dictionary", [False, True])
def test_numbers_of_any_width_are_read(kind: pa.DataType, by_dictionary: bool) -> None:
    values = pa.array([7, 0, None, 100], kind)
    column = values.dictionary_encode() if by_dictionary else values
    table = ingested(source_named("laion2b-en"), with_pairs(source_named("laion2b-en"), 4, width=column, unsafe=column)).table
    assert table["width"].to_pylist() == table["unsafe"].to_pylist() == [7, 0, None, 100]


def test_numbers_as_text_and_decimals_are_read_and_what_is_no_number_costs_its_row() -> None:
    laion = source_named("laion2b-en")
    texts = ["512", " 640.0 ", "1e3", "", None, "abc", "0x10", "True", "1e999", "99999999999", "NaN", "-1"]
    result = ingested(laion, with_pairs(laion, len(texts), width=pa.array(texts)))
    assert result.table["width"].to_pylist() == [512, 640, 1000, None, None, None, None, None]
    assert [tuple(row.values())[1:] for row in result.other_families["rejects"].to_pylist()] == [
        ("not_a_number", "WIDTH: abc"),
        ("not_a_number", "WIDTH: 0x10"),
        ("not_a_number", "WIDTH: True"),
        ("out_of_range", "WIDTH: 99999999999"),
    ]
    decimals = pa.array([Decimal("512.0"), None, Decimal("99999999999.0")])
    assert ingested(laion, with_pairs(laion, 3, width=decimals)).table["width"].to_pylist() == [512, None]
    scores = pa.array([0.25, 1e300, None])
    result = ingested(laion, with_pairs(laion, 3, unsafe=scores))
    assert result.table["unsafe"].to_pylist() == [0.25, None]
    assert result.other_families["rejects"]["reason"].to_pylist() == ["out_of_range"]


def text_array(values: list[bytes | None], kind: pa.DataType) -> pa.Array:
    """The bytes as an array of any text type, sound UTF-8 or not, as Parquet files hold them."""
    data = pa.array(values, pa.binary())
    if pa.types.is_dictionary(kind):
        encoded = data.dictionary_encode()
        return pa.DictionaryArray.from_arrays(encoded.indices, text_array(encoded.dictionary.to_pylist(), kind.value_type))
    if kind == pa.string():
        return pa.Array.from_buffers(kind, len(data), data.buffers(), data.null_count)
    if kind == pa.large_string():
        return text_array(values, pa.string()).cast(pa.binary()).cast(pa.large_binary()).view(kind)
    return text_array(values, pa.string()).cast(kind) if kind == pa.string_view() else data.cast(kind)


TEXT_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()]
TEXT_TYPES += [pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int32(), pa.binary())]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
@pytest.mark.parametrize("source", sorted(sources()))
def test_bytes_that_are_not_utf8_cost_their_row_in_every_source_and_text_type(source: str, kind: pa.DataType) -> None:
    chosen = source_named(source)
    urls = [b"http://a/0", b"http://a/\xff", b"http://a/2", None, b"http://a/4"]
    captions = ["红 é".encode(), b"b", b"cut \xe4\xbd", b"d", None]
    result = ingested(chosen, with_pairs(chosen, 5, url=text_array(urls, kind), caption=text_array(captions, kind)))
    assert result.table["caption"].to_pylist() == ["红 é", ""]
    ids, names = sample_ids(chosen.ordinal, 0, 0, 5).tolist(), published_names(chosen)
    assert result.table["sample_id"].to_pylist() == [ids[0], ids[4]]
    assert result.other_families["rejects"].to_pylist() == [
        {"sample_id": ids[1], "reason": "invalid_utf8", "raw": f"{names['url']}: http://a/�"},
        {"sample_id": ids[2], "reason": "invalid_utf8", "raw": f"{names['caption']}: cut �"},
        {"sample_id": ids[3], "reason": "no_url", "raw": "d"},
    ]


def test_a_bad_byte_in_a_parquet_file_costs_its_row_alone(tmp_path: Path) -> None:
    laion, path = source_named("laion2b-en"), tmp_path / "a.parquet"
    texts = [b"a", b"\xff", b"c", b"d", b"\xfe", b"f"]
    pq.write_table(with_pairs(laion, 6, caption=text_array(texts, pa.string())), path)
    assert inspect(str(path), laion, DEFAULTS).file.rows == 6
    results = [
        to_samples(read_rows(str(path), laion, first, 2, DEFAULTS), laion, Part("laion2b-en", 0, first, 2), DEFAULTS)
        for first in (0, 2, 4)
    ]
    assert [result.table["caption"].to_pylist() for result in results] == [["a"], ["c", "d"], ["f"]]
    assert [result.counts["rejected"] for result in results] == [1, 0, 1]


IMPOSSIBLE = [
    pa.list_(pa.string()),
    pa.struct([("bytes", pa.binary())]),
    pa.map_(pa.string(), pa.string()),
    pa.timestamp("s"),
    pa.date32(),
    pa.bool_(),
]


@pytest.mark.parametrize("kind", IMPOSSIBLE, ids=str)
@pytest.mark.parametrize("source", sorted(sources()))
def test_columns_of_an_impossible_type_are_refused_when_the_file_is_inspected(
    tmp_path: Path, source: str, kind: pa.DataType
) -> None:
    chosen, path = source_named(source), tmp_path / "a.parquet"
    for ours, theirs in published_names(chosen).items():
        pq.write_table(with_pairs(chosen, 2, **{ours: pa.nulls(2, kind)}), path)
        with pytest.raises(RequestError) as caught:
            inspect(str(path), chosen, DEFAULTS)
        written = pq.read_schema(path).field(theirs).type
        assert f"its column {theirs} is {written}, but {ours} is read from " in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_url_column_of_numbers_and_a_column_named_twice_are_refused(tmp_path: Path) -> None:
    laion, path = source_named("laion2b-en"), tmp_path / "a.parquet"
    pq.write_table(with_pairs(laion, 2, url=pa.array([1, 2])), path)
    with pytest.raises(RequestError, match="its column URL is int64, but url is read from text"):
        inspect(str(path), laion, DEFAULTS)
    pq.write_table(pa.table([pa.array(["u"])] * 3, names=["URL", "TEXT", "URL"]), path)
    with pytest.raises(RequestError, match="has 2 columns URL; rename all but one"):
        inspect(str(path), laion, DEFAULTS)


VALUES = st.one_of(st.none(), st.binary(max_size=6), st.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass")))


@settings(deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES, VALUES, st.floats() | st.none()), max_size=12), st.sampled_from(TEXT_TYPES))
def test_whatever_the_values_are_each_row_is_a_sample_or_a_reject(rows: list, kind: pa.DataType) -> None:
    laion = source_named("laion2b-en")
    urls, captions, sizes, scores = ([row[column] for row in rows] for column in range(4))
    table = pa.table(
        {
            "URL": text_array(urls, kind),
            "TEXT": text_array(captions, kind),
            "WIDTH": text_array(sizes, kind),
            "similarity": pa.array(scores, pa.float64()),
        }
    )
    result = ingested(laion, table)
    ids = result.table["sample_id"].to_pylist() + result.other_families["rejects"]["sample_id"].to_pylist()
    assert sorted(ids) == sample_ids(laion.ordinal, 0, 0, len(rows)).tolist()
    result.table.validate(full=True)
    assert np.isfinite(result.table["clip_similarity"].drop_null().to_numpy()).all()


def test_only_the_columns_that_are_read_come_from_a_parquet_file(tmp_path: Path) -> None:
    laion, path = source_named("laion2b-en"), tmp_path / "a.parquet"
    table = with_pairs(laion, 3, width=pa.array([1, 2, 3]))
    pq.write_table(table.append_column("blob", pa.array([b"x" * 1000] * 3)).append_column("NSFW", pa.array(["?"] * 3)), path)
    assert sorted(read_rows(str(path), laion, 0, 3, DEFAULTS).table.column_names) == ["TEXT", "URL", "WIDTH"]


@pytest.mark.parametrize("more", ["SAMPLE_ID", "caption", "url", "width"])
@pytest.mark.parametrize("source", sorted(sources()))
def test_columns_that_are_not_read_may_still_tell_the_variant(tmp_path: Path, source: str, more: str) -> None:
    chosen, path = source_named(source), tmp_path / "a.parquet"
    numbers = {ours: pa.array([3 + place, 40]) for place, ours in enumerate(published_names(chosen)) if ours in NUMBERS}
    table = with_pairs(chosen, 2, **numbers)
    table = table if more in table.column_names else table.append_column(more, pa.array([1, 2]).cast(pa.string()))
    pq.write_table(table, path)
    read = to_samples(read_rows(str(path), chosen, 0, 2, DEFAULTS), chosen, Part(source, 0, 0, 2), DEFAULTS)
    assert read.table.equals(ingested(chosen, table).table, check_metadata=True)


@pytest.mark.parametrize("part_rows", [1, 7, 20, 33, 200])
def test_a_row_group_that_parts_cut_is_decoded_once(tmp_path: Path, part_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    laion, path, groups = source_named("laion2b-en"), tmp_path / "a.parquet", list[int]()
    pq.write_table(with_pairs(laion, 200), path, row_group_size=66)
    read = pq.ParquetFile.read_row_groups

    def counted(self: pq.ParquetFile, numbers: list[int], columns: list[str]) -> pa.Table:
        groups.extend(numbers)
        return read(self, numbers, columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda self, number, columns: counted(self, [number], columns))
    parts = [read_rows(str(path), laion, first, min(part_rows, 200 - first), DEFAULTS) for first in range(0, 200, part_rows)]
    assert groups == [0, 1, 2, 3]
    urls = [url for part in parts for url in part.table["URL"].to_pylist()]
    assert urls == [f"http://a/{row}" for row in range(200)]


def test_a_file_that_was_written_again_is_not_read_from_the_kept_row_group(tmp_path: Path) -> None:
    laion, path = source_named("laion2b-en"), tmp_path / "a.parquet"
    for caption in ("a", "b"):
        pq.write_table(with_pairs(laion, 4, caption=pa.array([caption] * 4)), tmp_path / "new.parquet")
        (tmp_path / "new.parquet").replace(path)
        for first in (0, 1):
            assert read_rows(str(path), laion, first, 1, DEFAULTS).table["TEXT"].to_pylist() == [caption]


def test_every_score_of_a_tag_table_is_a_published_column() -> None:
    assert {ours for ours, _ in SCORES.values()} <= set(PUBLISHED)
