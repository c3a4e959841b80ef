"""Images that img2dataset wrote are found in its tars and in its folders of files, in every format that we decode."""

import io
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from infra.compat.errors import RequestError
from pipelines.fetching.img2dataset_images import images_stamp
from pipelines.fetching.img2dataset_output import read_output
from pipelines.fetching.settings import FetchSettings
from pipelines.manifest.pictures import StoredPicture, read_stored
from pipelines.manifest.storage import Storage

MIMES = {"jpg": "jpeg", "png": "png", "webp": "webp", "gif": "gif", "avif": "avif"}


def encoded(ending: str) -> bytes:
    data = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(data, MIMES[ending].upper())
    return data.getvalue()


IMAGES = {f"{number:09d}.{ending}": encoded(ending) for number, ending in enumerate(MIMES)}


def output(folder: Path, layout: str) -> str:
    """00000.parquet beside 00000.tar or beside the folder 00000: an image of each format, one cut short, one missing."""
    files = IMAGES | {"000000005.jpg": encoded("jpg")[:-300]}
    files |= {f"{number:09d}.{ending}": b"{}" for number in range(6) for ending in ("txt", "json")}
    if layout == "webdataset":
        with tarfile.open(folder / "00000.tar", "w") as tar:
            for name, data in sorted(files.items()):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    else:
        (folder / "00000").mkdir()
        for name, data in files.items():
            (folder / "00000" / name).write_bytes(data)
    table = pa.table({"url": ["u"] * 7, "key": [f"{number:09d}" for number in range(7)], "status": ["success"] * 7})
    pq.write_table(table, folder / "00000.parquet")
    return f"file://{folder / '00000.parquet'}"


@pytest.mark.parametrize("layout", ["webdataset", "files"])
def test_images_of_every_format_are_used_where_they_lie(tmp_path: Path, layout: str) -> None:
    rows = read_output(output(tmp_path, layout), 0, 7, FetchSettings(), lambda number: None).to_pylist()
    assert [row["status"] for row in rows] == ["ok"] * 5 + ["failed"] * 2
    assert [row["error"] for row in rows[5:]] == ["truncated", "truncated"]
    assert [row["mime"] for row in rows[:5]] == [f"image/{kind}" for kind in MIMES.values()]
    storage = Storage(str(tmp_path / "root"))
    for row, data in zip(rows, IMAGES.values(), strict=False):
        assert read_stored(storage, StoredPicture(row["tar"], row["offset"], row["length"], row["stored_checksum"])) == data


@pytest.mark.parametrize(
    "column, values",
    [
        ("key", pa.array(range(7))),
        ("key", pa.array([float(number) for number in range(7)])),
        ("status", pa.array([b"success"] * 7)),
        ("original_width", pa.array([256.0, float("nan"), None, float("inf"), -1.0, 1e300, 256.0])),
        ("original_height", pa.array(["256", "nan", None, "x", "", "256", "256"])),
        ("original_width", pa.array([2**40] * 7)),
        ("error_message", pa.array([float("nan")] * 7)),
        ("error_message", pa.array([404] * 7)),
        ("sha256", pa.array([float("nan")] * 7)),
        ("sha256", pa.array([b"\xff\xfe"] * 7)),
    ],
)
def test_columns_as_other_programs_rewrite_them_cost_no_picture(tmp_path: Path, column: str, values: pa.Array) -> None:
    uri = output(tmp_path, "webdataset")
    expected = read_output(uri, 0, 7, FetchSettings(), lambda number: None)
    table = pq.read_table(tmp_path / "00000.parquet")
    table = table.drop_columns([column]) if column in table.column_names else table
    pq.write_table(table.append_column(column, values), tmp_path / "00000.parquet")
    assert read_output(uri, 0, 7, FetchSettings(), lambda number: None).equals(expected)


def test_images_of_another_file_are_not_taken_for_missing_ones(tmp_path: Path) -> None:
    uri = output(tmp_path, "files")
    table = {"url": ["u"] * 20, "key": [f"{number:09d}" for number in range(500, 520)], "status": ["success"] * 20}
    pq.write_table(pa.table(table), tmp_path / "00000.parquet")
    with pytest.raises(RequestError, match="no image beside it is named after one of its keys"):
        read_output(uri, 0, 20, FetchSettings(), lambda number: None)


@pytest.mark.parametrize("layout", ["webdataset", "files"])
def test_parts_of_a_file_read_the_same_images(tmp_path: Path, layout: str) -> None:
    uri = output(tmp_path, layout)
    whole = read_output(uri, 0, 7, FetchSettings(), lambda number: None)
    parts = [read_output(uri, first, min(3, 7 - first), FetchSettings(), lambda number: None) for first in (0, 3, 6)]
    assert pa.concat_tables(parts).equals(whole)


@pytest.mark.parametrize("layout, image", [("webdataset", "00000.tar"), ("files", "00000/000000002.webp")])
def test_images_that_are_written_again_change_the_stamp(tmp_path: Path, layout: str, image: str) -> None:
    uri = output(tmp_path, layout)
    before = images_stamp(uri)
    assert images_stamp(uri) == before
    os.utime(tmp_path / image, (1, 1))
    assert images_stamp(uri) != before


def test_missing_images_are_named(tmp_path: Path) -> None:
    uri = output(tmp_path, "webdataset")
    (tmp_path / "00000.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither .*/00000.tar nor a folder .*/00000 is beside"):
        images_stamp(uri)
    with pytest.raises(FileNotFoundError, match=r"neither .*/00000.tar nor a folder"):
        read_output(uri, 0, 7, FetchSettings(), lambda number: None)
