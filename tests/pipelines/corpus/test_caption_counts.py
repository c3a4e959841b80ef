"""How many pictures share a caption: counted as by hand, however the corpus is cut into parts and buckets."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import stage2
from pipelines.corpus import caption_counts
from pipelines.corpus.caption_counts import LEAST, count_captions, pictures_of
from pipelines.manifest import connect
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part, SourceFile, register_files
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from pipelines.recipe import load_recipe
from pipelines.runtime.step import run_step
from pipelines.sources import source_named


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), max_size=80), st.integers(1, 4), st.randoms())
def test_counts_are_those_by_hand_however_they_are_cut(rows: list[tuple[int, int]], ranges: int, chance) -> None:
    by_key = defaultdict(set)
    for key, picture in rows:
        by_key[key].add(picture)
    expected = {row: len(by_key[key]) for row, (key, _) in enumerate(rows) if len(by_key[key]) >= LEAST}
    shuffled = chance.sample(range(len(rows)), len(rows))
    counts = {}
    for bucket in range(ranges):
        bucket_rows = [row for row in shuffled if rows[row][0] % ranges == bucket]
        columns = ([rows[row][0] for row in bucket_rows], [rows[row][1] for row in bucket_rows], bucket_rows)
        table = pictures_of(*(np.array(values, np.uint64) for values in columns))
        assert table["sample_id"].to_pylist() == sorted(table["sample_id"].to_pylist())
        counts |= dict(zip(table["sample_id"].to_pylist(), table["pictures"].to_pylist(), strict=True))
    assert counts == expected


CAPTIONS = ["Photo for sale"] * 12 + ["photo, for SALE!"] * 3 + [f"A red fox, number {number}" for number in range(25)]


def corpus(root: str, cuts: list[int]) -> Storage:
    """The captions, each on a picture of its own, but the last row repeats the first pair; in files of these sizes."""
    storage, rows = Storage(root), [*enumerate(CAPTIONS), (0, CAPTIONS[0])]
    register_files(storage, "coyo", [SourceFile(f"f{i}", i, size, 1, "x") for i, size in enumerate(cuts)])
    assert sum(cuts) == len(rows)
    first = 0
    for file, size in enumerate(cuts):
        file_rows, first = rows[first : first + size], first + size
        table = {
            "sample_id": sample_ids(source_named("coyo").ordinal, file, 0, size),
            "url": [f"http://a/{picture}.jpg" for picture, _ in file_rows],
            "caption": [caption for _, caption in file_rows],
            "caption_chars": [len(caption) for _, caption in file_rows],
            "caption_words": [3] * size,
        }
        part = Part("coyo", file, 0, size)
        storage.write_parquet(part.path("samples"), conform(pa.table(table), "samples"))
        storage.write_json(part.receipt_path("samples"), RECEIPT | {"part": part.name, "rows_in": size, "rows_out": size})
    return storage


RECEIPT = {"family": "samples", "source": "coyo", "fingerprint": "f", "digest": "d"}


@pytest.mark.parametrize("cuts", [[41], [1, 40], [14, 2, 25], [7, 7, 7, 7, 7, 6]])
def test_duplicate_text_is_dropped_whatever_the_partitioning(tmp_path, monkeypatch, cuts: list[int]) -> None:
    monkeypatch.setattr(caption_counts, "BUCKET_ROWS", 15)
    storage = corpus(str(tmp_path), cuts)
    parts = [Part("coyo", file, 0, size) for file, size in enumerate(cuts)]
    counted = count_captions(storage, parts)
    assert not counted.failed
    judged = run_step(storage, stage2.stage2_step(load_recipe(None)), parts)
    assert not judged.failed and judged.counts["reason.boilerplate.duplicate_text"] == 16
    query = "select caption_pictures, stage2_keep, count(*) from manifest group by all order by all"
    assert connect(str(tmp_path)).sql(query).fetchall() == [(15, False, 16), (None, True, 25)]
    assert count_captions(storage, parts).ran == 0
    assert not count_captions(storage, [*parts, Part("coyo", 99, 0, 5)]).failed  # one that could not be ingested
