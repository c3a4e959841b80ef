"""Hashes and scores of tag tables are read from every type that can hold them; a row without is skipped and counted."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from pipelines.sources.laion import SCORES
from pipelines.sources.published import read_keys
from pipelines.sources.tag_tables import SKIPPED, TAGS, inspect_tags, sorted_tags

KEYS = [1, -2, 2**62 + 1, -(2**63), 2**63 - 1]
SCORE_COLUMNS = [name for name, (ours, _) in SCORES.items() if ours in TAGS]


def written(folder: Path, columns: dict[str, pa.Array]) -> str:
    pq.write_table(pa.table(columns), folder / "tags.parquet")
    return str(folder / "tags.parquet")


def skipped(table: pa.Table) -> int:
    return int(table.schema.metadata[SKIPPED.encode()])


@pytest.mark.parametrize(
    "column",
    [
        pa.array(KEYS, pa.int64()),
        pa.array([key % 2**64 for key in KEYS], pa.uint64()),
        pa.array([Decimal(key) for key in KEYS], pa.decimal128(20, 0)),
        pa.array([Decimal(key) for key in KEYS], pa.decimal128(24, 2)),
        pa.array([Decimal(key % 2**64) for key in KEYS], pa.decimal128(20, 0)),
        pa.array([str(key) for key in KEYS]),
        pa.array([f" {key % 2**64} " for key in KEYS], pa.large_string()),
        pa.array([str(key).encode() for key in KEYS], pa.binary()),
        pa.array([str(key) for key in KEYS]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_a_hash_is_read_from_every_type_that_holds_64_bits(tmp_path: Path, column: pa.Array) -> None:
    path = written(tmp_path, {"hash": column, "punsafe": pa.array([0.5] * len(KEYS))})
    assert inspect_tags(path).rows == len(KEYS)
    table = sorted_tags(path)
    assert table["key"].to_pylist() == sorted(key % 2**64 for key in KEYS)
    assert skipped(table) == 0


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.decimal128(20, 0), pa.string()], ids=str)
def test_rows_without_a_hash_are_skipped_and_counted(tmp_path: Path, kind: pa.DataType) -> None:
    values = pa.array([7, None, 3, None], pa.int64())
    path = written(tmp_path, {"hash": values.cast(kind), "punsafe": pa.array([0.7, 0.1, 0.3, 0.2])})
    table = sorted_tags(path)
    assert table.select(["key", "unsafe"]).to_pylist() == [
        {"key": 3, "unsafe": pytest.approx(0.3)},
        {"key": 7, "unsafe": pytest.approx(0.7)},
    ]
    assert skipped(table) == 2
    with pytest.raises(ValueError, match="none of its 2 rows has a hash"):
        sorted_tags(written(tmp_path, {"hash": pa.nulls(2, kind), "punsafe": pa.array([0.1, 0.2])}))


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.bool_(), pa.list_(pa.int64()), pa.timestamp("ms")], ids=str)
def test_a_hash_that_cannot_hold_64_bits_is_refused_in_one_line(tmp_path: Path, kind: pa.DataType) -> None:
    path = written(tmp_path, {"hash": pa.nulls(2, kind), "punsafe": pa.array([0.1, 0.2])})
    with pytest.raises(RequestError, match="write it as int64, uint64, decimal or text of digits") as caught:
        inspect_tags(path)
    assert ("its column hash is double, which cannot hold 64 bits" in str(caught.value)) == (kind == pa.float64())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", SCORE_COLUMNS)
@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16(), pa.string()], ids=str)
def test_scores_that_are_none_are_null_in_every_tag_column(tmp_path: Path, column: str, kind: pa.DataType) -> None:
    values = pa.array([0.5, float("nan"), float("inf"), float("-inf"), None])
    path = written(tmp_path, {"hash": pa.array(range(5)), column: values.cast(kind)})
    assert sorted_tags(path)[SCORES[column][0]].to_pylist() == [0.5, None, None, None, None]


def test_a_score_that_is_none_costs_its_row_and_an_impossible_column_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"HASH": pa.array([1, 2]), "PUNSAFE": pa.array(["0.5", "high"])})
    inspect_tags(path)
    table = sorted_tags(path)
    assert table["unsafe"].to_pylist() == [0.5]
    assert skipped(table) == 1
    path = written(tmp_path, {"hash": pa.array([1]), "punsafe": pa.array([[0.5]])})
    with pytest.raises(RequestError, match=r"its column punsafe is list<.*>, not a number; write it as float32"):
        inspect_tags(path)


@hypothesis_settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**64 - 1) | st.none()), st.lists(st.text(max_size=5)))
def test_digits_and_integers_give_the_same_keys_and_other_text_none(numbers: list, texts: list[str]) -> None:
    digits = read_keys(pa.chunked_array([pa.array([None if n is None else str(n) for n in numbers], pa.string())]))
    assert digits.to_pylist() == [None if n is None else n % 2**64 for n in numbers]
    keys = read_keys(pa.chunked_array([pa.array(texts, pa.string())])).to_pylist()
    assert all(key is None or key == int(text.strip().partition(".")[0]) % 2**64 for key, text in zip(keys, texts, strict=True))


def test_a_damaged_page_with_a_checksum_is_named(tmp_path: Path) -> None:
    table, path = pa.table({"hash": pa.array(KEYS), "punsafe": pa.array([0.5] * len(KEYS))}), tmp_path / "tags.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    data = path.read_bytes()
    key = (2**62 + 1).to_bytes(8, "little")
    path.write_bytes(data.replace(key, key[:1] + b"X" + key[2:], 1))
    with pytest.raises(RequestError, match=r"tags\.parquet is a broken parquet file"):
        sorted_tags(str(path))
