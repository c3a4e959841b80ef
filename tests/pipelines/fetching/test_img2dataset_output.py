"""Images that img2dataset has downloaded are used where they lie; nothing is requested."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from infra.compat.errors import RequestError
from pipelines import export, fetch, ingest, stage1
from pipelines.fetching.errors import ERRORS
from pipelines.fetching.img2dataset_output import error_of, read_output
from pipelines.fetching.part import samples_without_result
from pipelines.fetching.settings import FetchSettings
from pipelines.manifest import connect
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from sharding.index import read_dataset
from sharding.reader import ShardReader

MESSAGES = {
    "HTTP Error 404: Not Found": "http_404",
    "HTTP Error 418: I'm a teapot": "http_4xx",
    "HTTP Error 503: Service Unavailable": "http_5xx",
    "<urlopen error timed out>": "timeout",
    "<urlopen error [Errno -2] Name or service not known>": "dns",
    "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED]>": "tls",
    "Use of image disallowed by X-Robots-Tag directive": "opt_out",
    "<urlopen error [Errno 111] Connection refused>": "connect",
}


def field(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (256, 200), colour).save(data, "JPEG")
    return data.getvalue()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """00000.tar and 00000.parquet as img2dataset writes them: keys of nine digits; failed rows are in the parquet alone."""
    rows = [
        ("success", None, field("red"), "a red field"),
        ("failed_to_download", "HTTP Error 404: Not Found", None, "gone"),
        ("success", None, field("blue")[:-400], "cut short"),
        ("failed_to_resize", "Image decoding error", None, "not an image"),
        ("success", None, field("green"), "a green field"),
        ("success", None, None, "missing from the tar"),
        ("failed_to_download", "Use of image disallowed by X-Robots-Tag directive", None, "not for us"),
    ]
    folder = tmp_path / "output"
    folder.mkdir()
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for number, (_, _, image, caption) in enumerate(rows):
            for ending, data in (("jpg", image), ("txt", caption.encode()), ("json", b"{}")):
                if image is not None:
                    member = tarfile.TarInfo(f"{number:09d}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    table = {
        "url": [f"http://pictures.test/{i}.jpg" for i in range(len(rows))],
        "caption": [row[3] for row in rows],
        "key": [f"{i:09d}" for i in range(len(rows))],
        "status": [row[0] for row in rows],
        "error_message": [row[1] for row in rows],
        "width": pa.array([256 if row[2] else None for row in rows], pa.int32()),
        "height": pa.array([200 if row[2] else None for row in rows], pa.int32()),
        "original_width": pa.array([1024 if row[2] else None for row in rows], pa.int32()),
        "original_height": pa.array([800 if row[2] else None for row in rows], pa.int32()),
        "exif": ["{}"] * len(rows),
        "sha256": [f"{i:064x}" if row[2] else None for i, row in enumerate(rows)],
        "similarity": [0.31] * len(rows),
        "LANGUAGE": ["en"] * len(rows),
    }
    pq.write_table(pa.table(table), folder / "00000.parquet")
    (folder / "00000_stats.json").write_text(json.dumps({"count": len(rows)}))
    return folder


def test_its_images_are_used_without_a_request(output: Path, tmp_path: Path, ray_session: None) -> None:
    root = ["--root", str(tmp_path / "root")]
    assert ingest.main([*root, "img2dataset", str(output / "*.parquet")])["samples"] == 7
    stage1.main(root)
    counts = fetch.main(root)
    assert counts["ok"] == 2 and counts["reasons"] == {"http_404": 1, "not_an_image": 1, "truncated": 2, "opt_out": 1}
    assert not list((tmp_path / "root").rglob("*.tar"))
    rows = connect(root[1]).sql(
        "select f.sample_id & 255, status, error, http_status, f.sha256, f.width, f.height, s.clip_similarity, s.language, tar "
        'from "fetch" f join samples s using (sample_id) order by 1'
    )
    fetched = rows.fetchall()
    assert fetched[0][1:9] == ("ok", None, 200, f"{0:064x}", 1024, 800, pytest.approx(0.31), "en")
    assert fetched[0][9].endswith("/00000.tar") and fetched[1][1:4] == ("failed", "http_404", 404) and fetched[6][1] == "refused"
    assert fetch.main(root)["ran"] == 0
    stage1.main(root)
    export.main([*root, "--stage", "1", "--out", str(tmp_path / "out")])
    reader = ShardReader(read_dataset(str(tmp_path / "out")), "train")
    stored = {sample.text: sample.image for sample in (reader.read(0, row) for row in range(reader.sizes()[0]))}
    assert stored == {"a red field": field("red"), "a green field": field("green")}
    # The tar is written again: what was fetched is no longer there, and nothing else is exported in its place.
    tar = output / "00000.tar"
    tar.write_bytes(tar.read_bytes().replace(field("red"), field("navy").ljust(len(field("red")), b"\0")))
    again = export.main([*root, "--stage", "1", "--name", "again", "--out", str(tmp_path / "again")])
    assert again["lost"] == 1 and "1 changed" in again["failed"][f"file://{tar}"]
    part = Part("img2dataset", 0, 0, 7)
    assert samples_without_result(Storage(root[1]), part) == 7
    assert fetch.main(root)["ran"] == 1 and samples_without_result(Storage(root[1]), part) == 0
    assert export.main([*root, "--stage", "1", "--name", "again", "--out", str(tmp_path / "again")])["failed"] == {}


@pytest.mark.parametrize("broken", [b"", b"no tar at all " * 100, b"\0" * 300])
def test_a_broken_tar_is_named(output: Path, broken: bytes) -> None:
    (output / "00000.tar").write_bytes(broken)
    with pytest.raises(RequestError, match=r"00000\.tar is a broken tar .*; copy it again"):
        read_output(f"file://{output / '00000.parquet'}", 0, 7, FetchSettings(), lambda number: None)


def test_a_missing_tar_fails_the_part_and_is_named(output: Path, tmp_path: Path, ray_session: None) -> None:
    root = ["--root", str(tmp_path / "root")]
    ingest.main([*root, "img2dataset", str(output / "00000.parquet")])
    (output / "00000.tar").unlink()
    failed = fetch.main(root)["failed"]
    assert list(failed) == ["img2dataset/000000-0000000000"] and "00000.tar" in failed["img2dataset/000000-0000000000"]


@pytest.mark.parametrize("message", MESSAGES)
def test_its_messages_become_our_error_classes(message: str) -> None:
    assert error_of("failed_to_download", message) == MESSAGES[message]
    assert MESSAGES[message] in ERRORS


def test_its_resize_failures_become_our_error_classes() -> None:
    assert error_of("failed_to_resize", "image too large") == "too_many_pixels"
    assert error_of("failed_to_resize", "Image decoding error") == "not_an_image"
