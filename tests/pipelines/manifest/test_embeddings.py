"""Embeddings of a part are one memory map, in any of its types, and come back as they were."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.manifest import connect, parquet, read_embeddings
from pipelines.manifest.embeddings import FOOTER, encoded
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from tests.support.pictured import PART, pictured


def write(storage: Storage, vectors: np.ndarray, dtype: str) -> None:
    embedding, scale = encoded(vectors, dtype)
    table = pa.table({"sample_id": sample_ids(4, 0, 0, len(vectors)), "embedding": embedding, "scale": scale})
    footer = {FOOTER: f'{{"dtype": "{dtype}"}}'}
    storage.write_parquet(PART.path("embeddings"), conform(table.replace_schema_metadata(footer), "embeddings"))


finite = st.floats(-1, 1, width=32)


@settings(deadline=None, max_examples=40)
@given(
    arrays(np.float32, st.tuples(st.integers(0, 50), st.integers(1, 9)), elements=finite),
    st.sampled_from(["float16", "int8"]),
    st.sampled_from([2**31 - 1, (1 << 20) + 40]),
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray, dtype: str, page: int) -> None:
    """In one page, or where a page holds few rows in several."""
    storage = Storage(str(tmp_path_factory.mktemp("root")))
    with patch.object(parquet, "LARGEST_PAGE", page):
        write(storage, vectors, dtype)
    found = read_embeddings(storage, PART)
    assert found is not None and found.about == {"dtype": dtype} and found.vectors.dtype == dtype
    assert found.sample_ids.tolist() == sample_ids(4, 0, 0, len(vectors)).tolist() and found.floats().shape == vectors.shape
    step = 2.0**-11 if dtype == "float16" else np.abs(vectors).max(axis=1, initial=0, keepdims=True) / 254 + 1e-6
    assert (np.abs(found.floats() - vectors) <= step).all()


def test_a_part_is_one_memory_map_and_sql_shows_it_beside_the_manifest(tmp_path: Path) -> None:
    storage = pictured(tmp_path / "root")
    assert read_embeddings(storage, PART) is None
    vectors = np.random.default_rng(0).normal(size=(8, 512)).astype(np.float32)
    write(storage, vectors, "float16")
    found = read_embeddings(storage, PART)
    assert found is not None and not found.vectors.flags.owndata and not found.vectors.flags.writeable
    assert (found.vectors == vectors.astype(np.float16)).all() and (found.floats([3, 1]) == found.floats()[[3, 1]]).all()
    connection = connect(storage.root)
    row = connection.sql("select sample_id, octet_length(embedding), scale from embeddings order by 1").fetchall()[0]
    assert row == (int(sample_ids(4, 0, 0, 1)[0]), 1024, None)
    assert "embedding" not in connection.sql("select * from manifest").columns
