"""Tag tables meet their samples by LAION's hash, in whatever files and order they come."""

from pathlib import Path

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.compat.errors import RequestError
from pipelines import ingest, stage1, status
from pipelines.manifest import connect
from pipelines.manifest.storage import Storage
from pipelines.sources import tags

ROWS = 600


def laion(folder: Path, file: int) -> Path:
    path = folder / f"laion-{file}.parquet"
    rows = range(file * ROWS, (file + 1) * ROWS)
    table = {
        "URL": [f"http://a.test/{row}.jpg" for row in rows],
        "TEXT": [None if row % 50 == 0 else f"Ein Bild № {row}" for row in rows],
        "WIDTH": pa.array([300] * ROWS, pa.int32()),
        "HEIGHT": pa.array([300] * ROWS, pa.int32()),
        "pwatermark": pa.array([0.25 if row % 7 == 0 else None for row in rows], pa.float32()),
    }
    pq.write_table(pa.table(table), path)
    return path


def hash_of(row: int) -> int:
    caption = "" if row % 50 == 0 else f"Ein Bild № {row}"
    return mmh3.hash64(f"http://a.test/{row}.jpg{caption}".encode())[0]


def table_of(path: Path, rows: list[int], **scores: list[float]) -> str:
    columns = {name: pa.array(values, pa.float32()) for name, values in scores.items()}
    pq.write_table(pa.table({"hash": pa.array([hash_of(row) for row in rows], pa.int64()), **columns}), path)
    return str(path)


def test_tags_reach_their_samples_and_later_files_too(
    root: str, tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tags, "BUCKET_ROWS", 250)  # several buckets
    chance = np.random.default_rng(0)
    unsafe = {int(row): float(np.float32(chance.random())) for row in chance.permutation(3 * ROWS)[: 2 * ROWS]}
    marks = {int(row): 0.75 for row in chance.permutation(3 * ROWS)[:ROWS]}
    first = table_of(tmp_path / "unsafe.parquet", list(unsafe), punsafe=list(unsafe.values()))
    second = table_of(tmp_path / "marks.parquet", [*marks, *marks], pwatermark=[*marks.values(), *[0.1] * len(marks)])
    third = table_of(tmp_path / "late.parquet", list(unsafe)[:9], punsafe=[2.0] * 9, AESTHETIC_SCORE=[6.5] * 9)
    fourth = str(tmp_path / "nulls.parquet")
    pq.write_table(pa.table({"hash": pa.array([hash_of(0), None, None]), "punsafe": [None, 0.5, 0.5]}), fourth)
    files = [laion(tmp_path, file) for file in range(3)]
    arguments = ["--root", root, "--set", "ingest.part_rows=250", "laion2b-en"]
    counts = ingest.main([*arguments, str(files[0]), str(files[1]), "--join-tags", first, second, third, fourth])
    assert counts["tagged"] == len({row for row in (*unsafe, *marks) if row < 2 * ROWS}) and not counts["failed"]
    again = ingest.main([*arguments, str(files[0])])
    assert again["ran"] == 0 and again["tag_rows_skipped"] == counts["tag_rows_skipped"] == 2
    ingest.main([*arguments, *map(str, files)])  # the third file, joined with the tables given before
    query = "select sample_id >> 32 & 16777215, sample_id & 4294967295, unsafe, watermark, aesthetic from manifest"
    tags_by_row = {int(file * ROWS + row): scores for file, row, *scores in connect(root).sql(query).fetchall()}
    assert len(tags_by_row) == 3 * ROWS
    for row, (is_unsafe, mark, aesthetic) in tags_by_row.items():
        assert is_unsafe == unsafe.get(row), row  # of two tables the one named first
        assert mark == (0.25 if row % 7 == 0 else marks.get(row)), row  # what came with the row goes before
        assert aesthetic == (6.5 if row in list(unsafe)[:9] else None), row
    stage1.main(["--root", root, "--set", "stage1.unsafe.max=0.5", "--set", 'stage1.unsafe.missing="keep"'])
    (dropped,) = connect(root).sql("select count(*) from manifest where list_contains(stage1_reasons, 'unsafe')").fetchall()
    assert dropped[0] == sum(value > 0.5 for value in unsafe.values())
    storage = Storage(root)
    table = storage.read_parquet(storage.glob("manifest/tags/*/*.parquet")[0])
    footer = table.schema.metadata[b"pairmill.score_models"]
    assert footer == b'{"aesthetic": "LAION-Aesthetics V2", "unsafe": "LAION CLIP-based NSFW detector", ' + (
        b'"watermark": "LAION-5B watermark detector"}'
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"hash": [1]}, "has columns hash, not hash and one of pwatermark, punsafe, aesthetic, AESTHETIC_SCORE"),
        ({"punsafe": [0.1]}, "has columns punsafe, not hash and one of"),
        (None, "is no parquet file"),
    ],
)
def test_a_file_that_is_no_tag_table_is_refused_before_anything_is_written(
    tmp_path: Path, columns: dict | None, message: str
) -> None:
    path = tmp_path / "tags.parquet"
    if columns is None:
        path.write_text("hash,punsafe\n")
    else:
        pq.write_table(pa.table(columns), path)
    with pytest.raises(RequestError, match=message):
        ingest.main(["--root", str(tmp_path / "root"), "laion2b-en", str(laion(tmp_path, 0)), "--join-tags", str(path)])
    assert not (tmp_path / "root").exists()


def test_status_says_which_parts_another_recipe_or_new_inputs_would_judge_again(
    tmp_path: Path, ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ["--root", str(tmp_path / "root")]
    ingest.main([*root, "laion2b-en", str(laion(tmp_path, 0)), str(laion(tmp_path, 1))])
    stage1.main(root)

    def stale(*more: str) -> int | None:
        (row,) = [row for row in status.main([*root, *more])["status"] if row["family"] == "stage1"]
        return row["stale"]

    assert stale() == 0 and "    0 " in capsys.readouterr().out
    assert stale("--set", "stage1.watermark.max=0.7") == 2
    table = table_of(tmp_path / "unsafe.parquet", [3], punsafe=[0.5])
    ingest.main([*root, "laion2b-en", str(tmp_path / "laion-0.parquet"), "--join-tags", table])
    assert stale() == 2
    stage1.main(root)
    assert stale() == 0
