"""The view `manifest` costs what a query names: other families and other sources are not touched, and no answer changes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from infra.compat.failures import failure_line
from pipelines.manifest import connect, tables
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.join import read_columns
from pipelines.manifest.parts import Part, SourceFile, all_parts, register_files
from pipelines.manifest.precedence import PRECEDENCE
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform, schema_of
from pipelines.manifest.view import SECOND_NAMES
from pipelines.sources import source_named

SOURCES = ("coyo", "laion2b-en", "wukong")
FAMILIES = ("samples", "fetch", "scores", "stage1", "stage2", "dedup", "captions")


@pytest.fixture
def storage(root: str) -> Storage:
    """Three sources of two parts of ten rows; costly families know every second row."""
    storage = Storage(root)
    for source in SOURCES:
        register_files(storage, source, [SourceFile(f"f{i}", i, 10, 1, "x") for i in range(2)])
        for file in range(2):
            part, ids = Part(source, file, 0, 10), sample_ids(source_named(source).ordinal, file, 0, 10)
            every, some = [i % 3 == 0 for i in range(10)], ids[::2]
            tables = {
                "samples": {
                    "sample_id": ids,
                    "source": [source] * 10,
                    "caption": [f"{source} {i}" for i in range(10)],
                    "width": [9] * 10,
                },
                "fetch": {"sample_id": some, "status": ["ok"] * 5, "width": [7] * 5},
                "scores": {"sample_id": some, "clip_similarity": [0.5] * 5},
                "stage1": {"sample_id": ids, "keep": every, "reasons": [[] if keep else ["watermark"] for keep in every]},
                "stage2": {"sample_id": ids, "keep": every, "reasons": [[]] * 10},
                "dedup": {"sample_id": ids, "eval_match": [None] * 9 + ["coco"]},
                "captions": {"sample_id": some, "synthetic_caption": ["said"] * 5},
            }
            for family, columns in tables.items():
                storage.write_parquet(part.path(family), conform(pa.table(columns), family))
    return storage


QUERIES = (
    "select source, count(*), avg(stage1_keep::int), sum(width), count(synthetic_caption) from manifest group by 1 order by 1",
    "select count(*) from manifest",
    "select source, stage1_reasons, count(*) from manifest group by all order by all desc",
    "select source, stage2_keep from manifest order by columns('s.*'), 1 limit 60",
    "select count(distinct sample_id) from manifest where source = 'coyo' and width = 7",
    "select m.source, max(m.caption) from manifest m where m.source in ('coyo', 'wukong') group by all order by 1",
    "select count(*) from manifest where source = 'coyo' or stage1_keep",
    "select count(*) from manifest where not source = 'coyo'",
    "select count(*) from manifest where source = 'coyo' and source = 'wukong'",
    "select unnest(stage1_reasons) as rule, count(*) from manifest group by 1",
    "with x as (select * from manifest) select count(eval_match), count(clip_similarity) from x where source = 'wukong'",
    'select count("eval_match") from "manifest" where SOURCE = \'wukong\'',
    "select a.source, count(*) from manifest a join manifest b using (sample_id) where b.source = 'coyo' group by 1",
    "select count(*) from manifest where source = 'coyo' union all select count(*) from manifest where stage2_keep",
    "select (select count(*) from manifest where source = 'coyo') as n, count(*) from stage1",
    "select manifest.fetch_status from manifest order by manifest.sample_id limit 3",
    "select manifest from manifest order by sample_id limit 1",
    "select columns('stage1_.*') from manifest order by sample_id limit 3",
    "select s.source, manifest.eval_match from samples s natural join manifest order by 1, 2 limit 3",
    "select 'from manifest', count(*) from manifest where caption like '%manifest%' or caption like 'coyo%'",
    "pivot manifest on source using count(*)",
    "select source from manifest where source = 'nowhere'",
)


@pytest.mark.parametrize("query", QUERIES)
def test_leaving_families_out_changes_no_answer(storage: Storage, query: str) -> None:
    connection = connect(storage.root)
    whole = connection._connection.sql(query)  # DuckDB's own connection sees the whole view
    narrowed = connection.sql(query)
    assert narrowed.columns == whole.columns
    assert sorted(map(str, narrowed.fetchall())) == sorted(map(str, whole.fetchall()))


def test_a_query_of_one_family_and_the_sources_joins_nothing(storage: Storage) -> None:
    connection = connect(storage.root)
    query = "select source, stage1_reasons, count(*) from manifest group by all order by all"

    def plan(query: str) -> str:
        return connection.sql(f"explain {connection._manifest.narrower(query)}").fetchall()[0][1].lower()

    assert "join" not in plan(query)
    assert "join" in plan(query.replace("stage1_reasons", "fetch_status"))
    for family in ("samples", "stage1"):  # a source that came after the connection was made
        moved = storage.read(storage.glob(f"manifest/{family}/source=wukong/*.parquet")[0])
        storage.write(f"manifest/{family}/source=sbu/000000-0000000000.parquet", moved)
    assert ("sbu", ["watermark"], 6) in connection.sql(query).fetchall()
    storage.remove(storage.glob("manifest/*/source=sbu/*.parquet"))
    storage.remove([storage.glob("manifest/stage1/source=coyo/*.parquet")[0]])
    assert sum(row[2] for row in connect(storage.root).sql(query).fetchall()) == 60


def test_a_family_all_parts_of_which_were_removed_is_empty(storage: Storage) -> None:
    storage.remove(storage.glob("manifest/stage1/*/*"))
    query = "select count(*), count(stage1_keep), (select count(*) from stage1) from manifest"
    assert connect(storage.root).sql(query).fetchall() == [(60, 0, 0)]
    storage.remove(storage.glob("manifest/*/*/*"))
    assert connect(storage.root).sql(query).fetchall() == [(0, 0, 0)]


def test_the_name_of_the_root_is_no_pattern(storage: Storage) -> None:
    for name in ("r[1]", "r1", "r*"):
        copy = Storage(f"{storage.root}/{name}")
        for path in storage.glob("manifest/*/source=coyo/*.parquet"):
            copy.write(path, storage.read(path))
        query = "select source, count(*), count(fetch_status) from manifest group by 1"
        assert connect(copy.root).sql(query).fetchall() == [("coyo", 20, 10)]


def test_a_root_with_strange_files_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    register_files(storage, "coyo", [SourceFile("f", 0, 1, 1, "x")])
    rows = conform(pa.table({"sample_id": sample_ids(4, 0, 0, 1), "source": ["coyo"]}), "samples")
    for family in ("samples", "of mine"):
        storage.write_parquet(f"manifest/{family}/source=coyo/000000-0000000000.parquet", rows)
    assert connect(storage.root).sql("select count(*) from manifest").fetchall() == [(1,)]
    for document in (b"[]", b"{}", b"3", b"{"):
        storage.write("exports/latest.json", document)
        with pytest.raises(RequestError, match=r"latest.json is broken JSON"):
            connect(storage.root)
        storage.write("sources/coyo/000000.json", document)
        with pytest.raises(RequestError, match=r"000000.json is broken JSON of a registered file"):
            all_parts(storage)
    storage.remove(["exports/latest.json"])
    storage.write("manifest/samples/source=coyo/000000-0000000000.parquet", b"PAR1")
    with pytest.raises(duckdb.Error) as error:
        connect(storage.root).sql("select count(*), max(caption) from manifest").fetchall()
    assert "run the job that wrote it again" in (failure_line(error.value) or "")


def spoil(storage: Storage, family: str, source: str = "*") -> None:
    for path in storage.glob(f"manifest/{family}/source={source}/*.parquet"):
        storage.write(path, b"PAR1 no parquet at all PAR1")


@pytest.mark.parametrize(
    "query, needs",
    [
        ("select source, count(*) from manifest group by 1", {"samples"}),
        ("select source, stage1_reasons, count(*) from manifest group by all", {"samples", "stage1"}),
        ("select count(*) from manifest where eval_match is null and width > 0", {"samples", "dedup", "fetch"}),
        ("select avg(clip_similarity) from manifest where synthetic_caption is not null", {"samples", "scores", "captions"}),
    ],
)
def test_families_that_a_query_does_not_name_are_not_read(storage: Storage, query: str, needs: set[str]) -> None:
    expected = connect(storage.root).sql(query).fetchall()
    connection = connect(storage.root)
    for family in set(FAMILIES) - needs:
        spoil(storage, family)
    assert sorted(map(str, connection.sql(query).fetchall())) == sorted(map(str, expected))


def test_asking_one_source_touches_one_sources_files(storage: Storage) -> None:
    connection = connect(storage.root)
    for family in FAMILIES:
        spoil(storage, family, "wukong")
        spoil(storage, family, "laion2b-en")
    everything = (
        "select count(*), count(fetch_status), count(eval_match) from manifest where source = 'coyo' and len(caption) > 2"
    )
    assert connection.sql(everything).fetchall() == [(20, 10, 2)]
    assert len(connection.sql("select * from manifest where source = 'coyo'").fetchall()) == 20


def test_a_connection_is_otherwise_duckdbs(storage: Storage) -> None:
    connection = connect(storage.root)
    connection.execute("create temp table kept as select sample_id from manifest where stage1_keep")
    assert connection.table("kept").aggregate("count(*)").fetchall() == [(24,)]
    assert connection.execute("select count(*) from manifest where source = ?", ["coyo"]).fetchall() == [(20,)]
    assert connection.query("select 1").fetchall() == [(1,)]
    first = connection.sql("select count(*) from manifest where stage1_keep")
    second = connection.sql("select count(*) from manifest where eval_match is not null")
    assert (first.fetchall(), second.fetchall()) == ([(24,)], [(6,)])


STATES = {"absent": slice(0), "partial": slice(1, 3), "whole": slice(None)}  # which rows of the samples a family has


def rows_of(family: str, ids: np.ndarray) -> pa.Table:
    """A row of the family for each id, with a value in every column."""
    values = {}
    for field in schema_of(family):
        value = f"{family} {field.name}" if pa.types.is_string(field.type) else [family] if pa.types.is_list(field.type) else 3
        if pa.types.is_struct(field.type):
            values[field.name] = pa.array([{part.name: 3 for part in field.type}] * len(ids), field.type)
        else:
            values[field.name] = pa.array([value] * len(ids)).cast(field.type)
    return pa.table(values | {"sample_id": ids} | ({"source": ["coyo"] * len(ids)} if family == "samples" else {}))


# `{a}` and `{b}` are columns; the last two lines do not bind.
TWO_COLUMN_QUERIES = """
select {a}, count(*) from manifest group by 1
select {a} as x, {b} as {a} from manifest where {b} is not null order by x, {b}
select count(distinct {a}) from manifest group by {b} having max({b}) is not null
select M."{A}" from "MANIFEST" as M order by m.{b}
with x as (select {a} from manifest) select * from x;
with recursive x as (select {a} from manifest union all select {a} from x where false), y as (select 1) select * from x, y
/* manifest */ with manifest as (select {a}, {b} from manifest) select {b} from manifest -- manifest
with manifest as (select {a}, {b} from manifest) select {b} from manifest
select x.{a}, y.{b} from manifest x join manifest y using (sample_id, {a})
select x.{a} from (select {a}, {b} from manifest) x join manifest y on x.{b} = y.{b}
select (select max({a}) from manifest) from manifest where {b} is not null
select s.url from samples s where exists (select 1 from manifest m where m.sample_id = s.sample_id and m.{a} is null)
select {a} from manifest natural join samples
select f.status, {b} from fetched f join manifest using (sample_id)
select * from manifest where {a} is null
select * exclude ({a}) from manifest
select * replace ({b} as {a}) from manifest
select columns('{a}|{b}') from manifest
select {a}, #2 from manifest
select manifest.{a}, manifest from main.manifest
from manifest select {a}
(select {a} from manifest) union all select {b} from manifest
select max({a}) over w from manifest window w as (partition by {b})
select {a}, z.{b} from manifest m, lateral (select m.{b}) z
select t.{a} from manifest t(first)
select {a}, {b} from manifest; select {b} from manifest
describe select {a} from manifest
select {a}, nothing from manifest
select {a} {b} from from manifest
""".strip().splitlines()


def root_of(states: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Storage, Part]:
    """A manifest of one part of four samples, with each family in its state."""
    storage, part = Storage(str(tmp_path_factory.mktemp("root"))), Part("coyo", 0, 0, 4)
    ids = sample_ids(source_named("coyo").ordinal, 0, 0, 4)
    for family, state in {"samples": "whole", **states}.items():
        if state != "absent":
            storage.write_parquet(part.path(family), rows_of(family, ids[STATES[state]]))
    return storage, part


FAMILY_STATES = st.fixed_dictionaries(dict.fromkeys(("tags", "shards", *FAMILIES[1:]), st.sampled_from(list(STATES))))
WHOLE = dict.fromkeys(FAMILIES[1:], "whole")
COLUMNS = st.sampled_from(list(PRECEDENCE))


@settings(deadline=None, max_examples=4)
@example(states=dict.fromkeys(("tags", "shards", *FAMILIES[1:]), "absent"), a="stage1_reasons", b="sample_id")  # fails while read
@given(states=FAMILY_STATES, a=COLUMNS, b=COLUMNS)
def test_any_query_of_two_columns_is_that_of_the_plain_join(
    states: dict[str, str], a: str, b: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    storage, _ = root_of(states, tmp_path_factory)
    connection = connect(storage.root)
    for number, query in enumerate(TWO_COLUMN_QUERIES):
        method = "execute" if number % 2 else "sql"
        query = query.format(a=a, b=b, A=a.upper())
        assert answer_of(getattr(connection, method), query) == answer_of(getattr(connection._connection, method), query), query


def answer_of(run: Callable[[str], Any], query: str) -> tuple[list[str], list[str]] | str:
    """Names and sorted rows of an answer, or the error, without the number of its line (`query_columns.with_view`)."""
    try:
        answer = run(query)
        return [column[0] for column in answer.description], sorted(map(str, answer.fetchall()))
    except duckdb.Error as error:
        return re.sub(r"LINE \d+:", "LINE:", str(error))


def test_the_export_made_last_is_the_one_in_every_query(tmp_path: Path) -> None:
    storage, part = Storage(str(tmp_path)), Part("coyo", 0, 0, 4)
    ids = sample_ids(source_named("coyo").ordinal, 0, 0, 4)
    for family, rows in {"samples": ids, "shards": ids, "shards_stage2": ids[:1]}.items():
        storage.write_parquet(part.path(family), rows_of(family, rows))
    storage.write_json("exports/latest.json", {"family": "shards_stage2"})
    assert connect(storage.root).sql("select count(shard), count(*) from manifest").fetchall() == [(1, 4)]


def test_an_error_names_the_words_of_the_query_and_ends_there(tmp_path_factory: pytest.TempPathFactory) -> None:
    connection = connect(root_of(WHOLE, tmp_path_factory)[0].root)
    with pytest.raises(duckdb.BinderException) as error:
        connection.sql("select fetch_status, fetch_statuss from manifest")
    assert "fetch_statuss" in str(error.value) and "read_parquet" not in str(error.value)
    assert connection.sql("select count(fetch_status) from manifest").fetchall() == [(4,)]
    relation = connection.execute("select sample_id from manifest")
    connection._manifest.narrower("select stage1_keep from manifest")  # reads files, but not on this connection
    assert len(relation.fetchall()) == 4


def test_every_view_and_column_of_the_manifest_can_be_written_without_quotes(tmp_path_factory: pytest.TempPathFactory) -> None:
    connection = connect(root_of(WHOLE, tmp_path_factory)[0].root)
    reserved = "select keyword_name from duckdb_keywords() where keyword_category = 'reserved'"
    words = {word for (word,) in connection.execute(reserved).fetchall()}
    assert set(PRECEDENCE) & words == set()
    assert set(tables.FAMILIES) & words == set(SECOND_NAMES)
    for family, names in SECOND_NAMES.items():
        for name in names:
            query = "select * from {} order by all"
            assert name not in words
            assert connection.sql(query.format(name)).fetchall() == connection.sql(query.format(f'"{family}"')).fetchall()


@settings(deadline=None, max_examples=12)
@given(
    states=FAMILY_STATES,
    other=COLUMNS,
)
def test_any_two_columns_are_those_of_the_plain_join(
    states: dict[str, str], other: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    storage, part = root_of(states, tmp_path_factory)
    connection = connect(storage.root)
    every = ", ".join(f'"{name}"' for name in PRECEDENCE)
    plain = connection._connection.sql(f"select {every} from manifest order by sample_id").to_arrow_table()  # joins all
    for name in PRECEDENCE:
        pairs = connection.sql(f'select "{name}" as a, "{other}" as b from manifest order by sample_id').fetchall()
        assert pairs == list(zip(plain[name].to_pylist(), plain[other].to_pylist(), strict=True))
    assert read_columns(storage, part, PRECEDENCE).select(plain.column_names).to_pylist() == plain.to_pylist()


def test_a_part_written_before_a_column_existed_has_null_in_it(storage: Storage) -> None:
    part = Part("coyo", 0, 0, 10)
    for family, column in (("samples", "license"), ("fetch", "sha256"), ("stage2", "caption_pictures")):
        path = part.path(family)
        storage.write_parquet(path, storage.read_parquet(path).drop_columns([column]))
    query = "select count(*), count(license), count(sha256), count(caption_pictures) from manifest where source = 'coyo'"
    assert connect(storage.root).sql(query).fetchall() == [(20, 0, 0, 0)]
    assert connect(storage.root).sql("select count(*), count(caption_pictures) from stage2").fetchall() == [(60, 0)]
    table = read_columns(storage, part, ["caption", "license", "sha256", "caption_pictures"])
    assert table["license"].null_count == 10 and table["caption"].null_count == 0
    assert table.schema.field("caption_pictures").type == pa.int32()


def test_a_manifest_of_the_earlier_layout_is_moved_and_read(storage: Storage) -> None:
    query = "select source, count(*), count(fetch_status), count(*) filter (stage1_keep) from manifest group by 1 order by 1"
    before = connect(storage.root).sql(query).fetchall()
    for path in storage.glob("manifest/*/source=*"):
        storage.move(path, path.replace("source=", ""))
    with pytest.raises(RequestError, match="earlier version; run `pairmill status`"):
        connect(storage.root)
    assert len(all_parts(storage)) == 6
    assert connect(storage.root).sql(query).fetchall() == before
