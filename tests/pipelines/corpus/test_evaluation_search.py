"""Files of evaluation sets and their tables are shared by the workers of a machine, whatever they are read from."""

import json
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from infra.compat.paths import cache_folder
from pipelines.corpus import evaluation_search
from pipelines.corpus.evaluation_file import write_evalset
from pipelines.corpus.evaluation_looks import confirmed
from pipelines.corpus.evaluation_search import EvalSet, candidates, eval_matches, local_file, open_set
from pipelines.corpus.settings import DedupSettings
from tests.pipelines.corpus.test_evaluation_file import items

ITEMS = items([str(number) for number in range(300)])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(evaluation_search, "SMALL", 0)
    evaluation_search._index.cache_clear()
    return cache_folder() / "evalsets"


def samples(phashes: list[int | None]) -> pa.Table:
    count = len(phashes)
    kinds = {"pdq": pa.string(), "pdq_quality": pa.int32(), "published": pa.uint64()}
    columns = {name: pa.nulls(count, kind) for name, kind in kinds.items()}
    return pa.table({"sample_id": pa.array(range(count), pa.uint64()), "phash": pa.array(phashes, pa.uint64()), **columns})


def matched(one: EvalSet, phashes: list[int | None]) -> list[str]:
    return eval_matches(samples(phashes), [one], DedupSettings())["item"].to_pylist()


def test_a_file_elsewhere_and_its_tables_are_made_once_in_the_cache(tmp_path: Path, cache: Path) -> None:
    write_evalset(tmp_path / "a.evalset", [ITEMS], {})
    uri, phashes = "memory://sets/a.evalset", ITEMS["phash"].to_pylist()
    with fsspec.open(uri, "wb") as handle:
        handle.write((tmp_path / "a.evalset").read_bytes())
    one = open_set("a", uri)
    assert matched(one, [phashes[7], None, phashes[9] ^ 0b101, phashes[9] ^ 0b1111111]) == ["7", "9"]
    (copy,) = cache.glob("*.evalset")
    made = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    evaluation_search._index.cache_clear()
    assert matched(one, [phashes[8]]) == ["8"] and {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == made
    assert copy.read_bytes() == (tmp_path / "a.evalset").read_bytes()
    index = evaluation_search._index(copy, "phash", local_file(uri).array_digests["phash"])
    assert all(isinstance(array, np.memmap) for array in (index.hashes.base, index.starts, index.rows))


def test_two_workers_that_make_tables_at_once_leave_the_same(cache: Path) -> None:
    hashes = ITEMS["phash"].to_numpy().reshape(-1, 1)
    cache.mkdir(parents=True)
    for _ in range(2):
        evaluation_search._write_tables(hashes, cache / "tables")
    assert [path.name for path in cache.iterdir()] == ["tables"]


def test_a_set_that_was_damaged_or_written_again_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.evalset"
    write_evalset(path, [ITEMS], {})
    one = open_set("a", str(path))
    data = bytearray(path.read_bytes())
    data[8 + int.from_bytes(data[:8], "little") + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(RequestError, match="is damaged: its array phash has another checksum"):
        matched(one, [0])
    write_evalset(path, [ITEMS.slice(1)], {})
    with pytest.raises(RequestError, match="was written again since the job began"):
        matched(one, [0])
    for array in ("phash", "names", "name_ends"):  # any byte of any array, before a job begins
        write_evalset(path, [ITEMS], {})
        data = bytearray(path.read_bytes())
        length = int.from_bytes(data[:8], "little")
        data[8 + length + json.loads(data[8 : 8 + length])[array]["data_offsets"][1] - 1] ^= 1
        path.write_bytes(data)
        with pytest.raises(RequestError, match=f"is damaged: its array {array} has another checksum"):
            open_set("a", str(path))
        path.write_bytes(data.replace(f'"{array}": {{"data'.encode(), f'"{array[1:]}_": {{"data'.encode()))  # an array renamed
        with pytest.raises(RequestError, match=r"a broken one|is damaged"):
            open_set("a", str(path))
    with pytest.raises(RequestError, match=r"no file .*; write it by `pairmill index-evalset b URI`"):
        open_set("b", str(tmp_path / "b.evalset"))


@given(st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=30))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_samples_of_the_same_hashes_match_what_each_would_alone(tmp_path: Path, chosen: list[int | None]) -> None:
    write_evalset(tmp_path / "a.evalset", [ITEMS], {})
    one, known = open_set("a", str(tmp_path / "a.evalset")), ITEMS["phash"].to_pylist()
    phashes = [None if number is None else known[number] for number in chosen]
    table = samples(phashes)
    alone = [eval_matches(table.slice(row, 1), [one], DedupSettings()) for row in range(len(table))]
    found = candidates(table, [one], DedupSettings())
    together = eval_matches(table, [one], DedupSettings())
    assert together.to_pylist() == [match for each in alone for match in each.to_pylist()]
    assert confirmed(table, [one], found, {}, DedupSettings()).drop_columns("agreement").equals(together)


def test_a_placeholder_is_matched_once_however_often_it_is_stored(tmp_path: Path) -> None:
    same = items(["a", "b", "c"])
    write_evalset(tmp_path / "a.evalset", [same.set_column(1, "phash", pa.array([7] * 3, pa.uint64()))], {})
    one = open_set("a", str(tmp_path / "a.evalset"))
    found = candidates(samples([7] * 1000), [one], DedupSettings())
    assert len(found.items) == 3 and len(found.of(999)) == 3 and len(found.rows(np.ones(1, bool))) == 1000
