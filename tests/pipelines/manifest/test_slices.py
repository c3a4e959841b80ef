"""A part read, judged and written in slices is the part as a whole."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from pipelines import stage2
from pipelines.judging import captions
from pipelines.manifest import parquet
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.join import column_slices, read_columns
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import Receipt, read_receipts
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from pipelines.recipe import load_recipe
from pipelines.runtime.step import _do_part

ROWS = 23
PART = Part("coyo", 0, 0, ROWS)
CAPTIONS = ["A red fox in the snow", "Ein Hund im Schnee — Stockfoto", "IMG_2041.jpg", "两只猫在屋顶上"]
SCHEMA = pa.schema([("caption", pa.string()), ("place", pa.int32())])
COLUMNS = ["caption", "url", "bytes", "sha256"]  # bytes and sha256 are fetch's


def samples(root: Path | str, rows: int = ROWS) -> Storage:
    """A part of so many samples, every third of them fetched; written without the family's later columns."""
    storage, ids = Storage(str(root)), sample_ids(4, 0, 0, rows)
    own = {"sample_id": ids, "caption": [CAPTIONS[row % len(CAPTIONS)] for row in range(rows)]}
    storage.write_parquet(PART.path("samples"), pa.table(own, pa.schema([("sample_id", pa.uint64()), ("caption", pa.string())])))
    fetched = {"sample_id": ids[::3], "bytes": range(len(ids[::3])), "sha256": ["f"] * len(ids[::3])}
    storage.write_parquet(PART.path("fetch"), conform(pa.table(fetched), "fetch"))
    return storage


@pytest.mark.parametrize("rows", [0, 1, ROWS])
@pytest.mark.parametrize("most", [1, 7, ROWS, 100])
def test_slices_of_columns_are_the_columns(tmp_path: Path, rows: int, most: int) -> None:
    storage = samples(tmp_path, rows)
    tables = [*column_slices(storage, PART, COLUMNS, most)]
    assert all(len(table) <= most for table in tables) and pa.concat_tables(tables) == read_columns(storage, PART, COLUMNS)


def test_slices_are_read_from_an_object_store_that_fails_now_and_then(object_store: str) -> None:
    storage = samples(f"{object_store}/slices")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "read", None)  # no file is read as a whole
        tables = [*column_slices(storage, PART, ["caption", "url"], 7)]
    assert len(tables) == 4 and pa.concat_tables(tables) == read_columns(storage, PART, ["caption", "url"])


def test_a_part_without_a_family_has_one_slice_without_rows(tmp_path: Path) -> None:
    (table,) = column_slices(Storage(str(tmp_path)), PART, COLUMNS, 5)
    assert table.column_names == ["sample_id", *COLUMNS] and not len(table)


def test_a_broken_file_is_named_whichever_way_it_is_read(tmp_path: Path) -> None:
    storage = samples(tmp_path)
    path = Path(storage.full(PART.path("samples")))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RequestError, match="is broken parquet"):
        next(column_slices(storage, PART, COLUMNS, 5))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(1, 9))
def test_bytes_do_not_depend_on_the_slices_that_were_written(sizes: Sequence[int], group: int) -> None:
    rows = range(sum(sizes))
    table = pa.table({"caption": ["word " * row for row in rows], "place": rows}, SCHEMA)
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    first, *more = [table.slice(start, size) for start, size in zip(starts, sizes, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "GROUP_ROWS", group)
        assert parquet.parquet_bytes(first, iter(more)).equals(parquet.parquet_bytes(table))


def test_a_part_judged_in_slices_has_the_bytes_and_counts_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, written = stage2.stage2_step(load_recipe(None)), dict[int, tuple[bytes, Receipt]]()
    for most, size in ((ROWS, 1 << 20), (4, 1 << 20), (5, 50)):
        monkeypatch.setattr(captions, "ROWS", most)
        monkeypatch.setattr(captions, "BYTES", size)
        storage, reported = samples(tmp_path / str(most)), list[int]()
        _do_part(storage, step, PART, "fingerprint", {}, reported.append)
        assert sum(reported) == ROWS and (max(reported) == most if size > 50 else max(reported) < most)
        receipt = read_receipts(storage, "stage2", [PART])[PART]
        written[most] = (storage.read(PART.path("stage2")), replace(receipt, seconds=0.0, finished_at=""))
    assert written[4] == written[5] == written[ROWS]
    receipt = written[4][1]
    assert receipt.rows_out == ROWS == receipt.counts["kept"] + receipt.counts["dropped"] and receipt.counts["repaired"] == 6
