"""An evaluation set is a folder of pictures, tars with or without an index, or Parquet: the same pictures either way."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.compat.errors import RequestError
from pipelines.corpus.evaluation_pictures import chunks_of, may_hold, pictures_of, stamps_of, units_of
from pipelines.corpus.evaluation_sets import Hasher
from pipelines.manifest.storage import Storage
from sharding import Sample
from tests.support.shards import write_dataset
from tests.support.tars import img2dataset_tar, indexed_tars, jpeg

PICTURES = [jpeg(number) for number in range(3)]


def hashed(storage: Storage, chunk: dict) -> dict[str, list]:
    Hasher(storage)({"chunk": chunk, "target": "a.parquet"}, lambda units: None)
    return storage.read_parquet("a.parquet").to_pydict()


def test_every_form_gives_the_same_pictures(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for number, data in enumerate(PICTURES):
        (tmp_path / f"folder/{number}.JPG").write_bytes(data)
    (tmp_path / "folder/labels.csv").write_text("phash\n")  # is no list of the set's hashes
    img2dataset_tar(tmp_path / "plain/part-0/00000.tar", 0, 3)
    img2dataset_tar(tmp_path / "tars/part-0/00000.tar", 0, 3)
    indexed_tars(tmp_path / "tars")
    write_dataset(tmp_path / "ours", {"train": [[Sample(number, data, "", b"{}") for number, data in enumerate(PICTURES)]]})
    (tmp_path / "parquet").mkdir()
    pq.write_table(pa.table({"image": PICTURES, "label": [0, 1, 2]}), tmp_path / "parquet/a.parquet")
    structs = pa.array([{"bytes": data, "path": f"{number}.jpg"} for number, data in enumerate(PICTURES)])
    (tmp_path / "hugging_face").mkdir()
    pq.write_table(pa.table({"image": structs}), tmp_path / "hugging_face/a.parquet")
    expected = {
        "folder": "2.JPG",
        "plain": "part-0/00000/000000002.jpg",
        "tars": "part-0/00000/000000002",
        "ours": f"train-000000/{2:016x}",
        "parquet": "a/0/2",
        "hugging_face": "a/2.jpg",
    }
    for folder, last in expected.items():
        (chunk,) = chunks_of("flickr", str(tmp_path / folder))
        pictures = list(pictures_of(chunk))
        assert [picture.data for picture in pictures] == PICTURES
        assert pictures[-1].name == last and all(int(stamp[1]) > 500 for stamp in stamps_of(chunk))
        assert all(may_hold(chunk, picture.name) for picture in pictures)
        assert may_hold(chunk, "elsewhere/2.jpg") == (chunk["kind"] == "parquet")


@pytest.mark.parametrize("named", ["{}", "{}/", "{}/*/*.jpg", "{}/**/*.jpg"])
def test_items_of_one_file_name_are_told_apart_by_their_folders(tmp_path: Path, named: str) -> None:
    for number, folder in enumerate(("val", "test")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").write_bytes(PICTURES[number])
    chunks = chunks_of("flickr", named.format(tmp_path))
    found = {picture.name: picture.data for chunk in chunks for picture in pictures_of(chunk)}
    assert found == {"test/1.jpg": PICTURES[1], "val/1.jpg": PICTURES[0]}
    assert all(any(may_hold(chunk, name) for chunk in chunks) for name in found) and not may_hold(chunks[0], "1.jpg")
    (alone,) = chunks_of("flickr", f"{tmp_path}/val/1.jpg")
    assert [picture.name for picture in pictures_of(alone)] == ["1.jpg"]


def test_rows_of_one_path_are_told_apart_by_their_parquet_file(tmp_path: Path) -> None:
    for number, file in enumerate(("test", "val")):
        pq.write_table(
            pa.table({"image": pa.array([{"bytes": PICTURES[number], "path": "1.jpg"}])}), tmp_path / f"{file}.parquet"
        )
    chunks = chunks_of("flickr", str(tmp_path))
    found = {picture.name: picture.data for chunk in chunks for picture in pictures_of(chunk)}
    assert found == {"test/1.jpg": PICTURES[0], "val/1.jpg": PICTURES[1]}


@pytest.mark.parametrize("cut", [0, 500, 5000])
def test_progress_of_a_set_ends_at_its_total(tmp_path: Path, cut: int) -> None:
    img2dataset_tar(tmp_path / "tars/00000.tar", 0, 3)
    whole = (tmp_path / "tars/00000.tar").read_bytes()
    (tmp_path / "tars/00000.tar").write_bytes(whole[: len(whole) - cut])
    (tmp_path / "list").mkdir()
    (tmp_path / "list/a.csv").write_text("phash\n" + "00ff00ff00ff00ff\n" * 3)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a.jpg").write_bytes(PICTURES[0])
    (tmp_path / "folder/b.jpg").write_bytes(b"no")
    for folder in ("tars", "list", "folder"):
        for chunk in chunks_of("flickr", str(tmp_path / folder)):
            reported = list[int]()
            Hasher(Storage(str(tmp_path / "root")))({"chunk": chunk, "target": "a.parquet"}, reported.append)
            assert sum(reported) == units_of(chunk) > 0 and min(reported) >= 0


def test_row_groups_of_parquet_are_chunks_of_their_own(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": PICTURES, "name": ["a", "b", "c"]}), tmp_path / "a.parquet", row_group_size=2)
    chunks = chunks_of("flickr", str(tmp_path))
    assert [[picture.name for picture in pictures_of(chunk)] for chunk in chunks] == [["a/a", "a/b"], ["a/c"]]
    assert stamps_of(chunks[0]) != stamps_of(chunks[1])


def test_a_picture_that_cannot_be_read_is_a_fault_and_costs_no_other(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "root"))
    write_dataset(tmp_path / "ours", {"train": [[Sample(1, PICTURES[1], "", b"{}"), Sample(2, b"\xff\xd8\xff no", "", b"{}")]]})
    (chunk,) = chunks_of("flickr", str(tmp_path / "ours"))
    items = hashed(storage, chunk)
    assert items["item"] == [f"train-000000/{number:016x}" for number in (1, 2)]
    assert items["fault"][0] is None and "is not a picture" in items["fault"][1]
    pq.write_table(pa.table({"image": pa.array([None, PICTURES[0]], pa.binary())}), tmp_path / "a.parquet")
    (chunk,) = chunks_of("flickr", str(tmp_path / "a.parquet"))
    assert hashed(storage, chunk)["fault"] == ["has no bytes", None]


def test_a_tar_that_is_cut_off_gives_what_it_has_and_its_fault(tmp_path: Path) -> None:
    img2dataset_tar(tmp_path / "00000.tar", 0, 3)
    whole = (tmp_path / "00000.tar").read_bytes()
    (tmp_path / "00000.tar").write_bytes(whole[: len(whole) // 2])
    (chunk,) = chunks_of("flickr", str(tmp_path))
    items = hashed(Storage(str(tmp_path / "root")), chunk)
    assert items["fault"][0] is None and "the tar" in items["fault"][-1] and items["item"][-1] == "00000"


def test_a_folder_without_pictures_is_told_what_a_set_may_be(tmp_path: Path) -> None:
    (tmp_path / "a.doc").touch()
    with pytest.raises(RequestError, match=r"evaluation set flickr: no images .*\.tar, \.parquet, \.csv.* under"):
        chunks_of("flickr", str(tmp_path))
    pq.write_table(pa.table({"url": ["http://a/b"]}), tmp_path / "a.parquet")
    with pytest.raises(RequestError, match="neither pictures nor hashes; its columns are url"):
        chunks_of("flickr", str(tmp_path))
