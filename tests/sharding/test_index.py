"""A broken index is a RequestError in one line, whatever is broken of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from sharding import ShardReader, read_dataset
from sharding.index import Index, read_index
from sharding.layout import SUMMARY, index_file
from tests.support.shards import numbered_dataset

SHARD = "train-000000"


def with_column(name: str, values: list) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, pa.array(values))


BROKEN = {
    "no ids": lambda table: table.drop(["sample_id"]),
    "an id is NULL": with_column("sample_id", [None, 1]),
    "ids are text": with_column("sample_id", ["a", "b"]),
    "ids are negative": with_column("sample_id", [-1, 1]),
    "no lengths": lambda table: table.drop(["image_length"]),
    "places are fractions": with_column("image_offset", [0.5, 1.0]),
    "no members": lambda table: table.select(["sample_id"]),
}


@pytest.mark.parametrize("change", BROKEN)
def test_what_is_no_index_is_refused(tmp_path: Path, change: str) -> None:
    dataset = numbered_dataset(tmp_path, [2])
    pq.write_table(BROKEN[change](pq.read_table(tmp_path / index_file(SHARD))), tmp_path / index_file(SHARD))
    with pytest.raises(RequestError, match=r"train-000000.index.parquet is broken parquet or no index \(.*\); export"):
        read_index(dataset.uri, SHARD)


RECORD = {"name": "a", "samples": 1, "bytes": 2, "sha256": ""}
NO_SUMMARIES = [
    [],
    {},
    {"splits": []},
    {"splits": {"train": [{**RECORD, "more": 1}]}},
    *(
        {"splits": {"train": [{**RECORD, name: value}]}}
        for name in ("name", "samples", "bytes", "sha256")
        for value in (None, 0.5)
    ),
    {"splits": {"train": [{**RECORD, "samples": -1}]}},
    {"splits": {}, "about": 5},
    {"splits": {}, "tars": None},
]


@pytest.mark.parametrize("document", NO_SUMMARIES, ids=str)
def test_what_is_no_summary_is_refused(tmp_path: Path, document: object) -> None:
    (tmp_path / SUMMARY).write_text(json.dumps(document))
    with pytest.raises(RequestError, match="is no summary of shards"):
        read_dataset(str(tmp_path))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
def test_any_bytes_are_an_index_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int]], in_footer: bool
) -> None:
    dataset = numbered_dataset(tmp_path_factory.mktemp("shards"), [3])
    path = Path(dataset.uri, index_file(SHARD))
    data = bytearray(path.read_bytes())
    first = len(data) - int.from_bytes(data[-8:-4], "little") - 8 if in_footer else 0
    for place, value in changes:
        data[first + int(place * (len(data) - first))] = value
    path.write_bytes(data)
    try:
        index = read_index(dataset.uri, SHARD)
    except RequestError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(index, Index)
        assert len(ShardReader(dataset, "train").read_many([(0, row) for row in range(3)])) == 3
