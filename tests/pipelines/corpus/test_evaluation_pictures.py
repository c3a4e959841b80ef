"""An evaluation set is a folder of pictures, or shards with an index: the same pictures either way."""

from pathlib import Path

import pytest

from infra.compat.errors import RequestError
from pipelines.corpus.evaluation_pictures import picture_chunks, pictures_of, stamps_of
from pipelines.corpus.evaluation_sets import _Hasher
from pipelines.manifest.storage import Storage
from sharding import Sample
from tests.support.shards import write_dataset
from tests.support.tars import img2dataset_tar, indexed_tars, jpeg


def test_indexed_tars_and_our_shards_give_their_pictures(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for number in range(3):
        (tmp_path / f"folder/{number}.JPG").write_bytes(jpeg(number))
    img2dataset_tar(tmp_path / "tars/part-0/00000.tar", 0, 3)
    indexed_tars(tmp_path / "tars")
    write_dataset(tmp_path / "ours", {"train": [[Sample(number, jpeg(number), "", b"{}") for number in range(3)]]})
    expected = {"folder": "2.JPG", "tars": "part-0/00000/000000002", "ours": f"train-000000/{2:016x}"}
    for folder, last in expected.items():
        (chunk,) = picture_chunks("flickr", str(tmp_path / folder))
        pictures = list(pictures_of(chunk))
        assert chunk["pictures"] == 3 and [data for _, data in pictures] == [jpeg(number) for number in range(3)]
        assert pictures[-1][0] == last and all(int(size) > 500 for _, size, _ in stamps_of(chunk))


def test_pictures_of_a_shard_are_hashed_and_one_that_is_none_is_named(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "root"))
    write_dataset(tmp_path / "ours", {"train": [[Sample(1, jpeg(1), "", b"{}")], [Sample(2, b"\xff\xd8\xff no", "", b"{}")]]})
    whole, broken = picture_chunks("flickr", str(tmp_path / "ours"))
    assert _Hasher(storage)({"chunk": whole, "target": "a.parquet"}, lambda units: None) == {"pictures": 1}
    assert storage.read_parquet("a.parquet")["item"].to_pylist() == [f"train-000000/{1:016x}"]
    with pytest.raises(RequestError, match=f"train-000001/{2:016x} is not a picture"):
        _Hasher(storage)({"chunk": broken, "target": "b.parquet"}, lambda units: None)


def test_tars_without_an_index_are_told_what_they_lack(tmp_path: Path) -> None:
    img2dataset_tar(tmp_path / "00000.tar", 0, 1)
    with pytest.raises(RequestError, match=r"run `pairmill index .*` first"):
        picture_chunks("flickr", str(tmp_path))
