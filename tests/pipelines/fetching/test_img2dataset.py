"""img2dataset's output comes in as fetched already: no host is asked, its pictures are used where they lie."""

import hashlib
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
from pipelines.fetching.adopt import error_of
from pipelines.fetching.client import ERRORS
from pipelines.fetching.request import Wanted
from pipelines.fetching.settings import FetchSettings
from pipelines.manifest import connect
from pipelines.manifest.storage import Storage
from sharding.index import read_dataset
from sharding.reader import ShardReader
from tests.support import hostile_web

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


def picture(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (256, 200), colour).save(data, "JPEG")
    return data.getvalue()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """00000.tar and 00000.parquet as img2dataset writes them: keys of nine digits; failed rows are in the parquet alone."""
    rows = [
        ("success", None, picture("red"), "a red field"),
        ("failed_to_download", "HTTP Error 404: Not Found", None, "gone"),
        ("success", None, picture("blue")[:-400], "cut short"),
        ("failed_to_resize", "Image decoding error", None, "no picture"),
        ("success", None, picture("green"), "a green field"),
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


def test_it_is_taken_as_fetched_and_nobody_is_asked(output: Path, tmp_path: Path, ray_session: None) -> None:
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
    found = rows.fetchall()
    assert found[0][1:9] == ("ok", None, 200, f"{0:064x}", 1024, 800, pytest.approx(0.31), "en")
    assert found[0][9].endswith("/00000.tar") and found[1][1:4] == ("failed", "http_404", 404) and found[6][1] == "refused"
    assert fetch.main(root)["ran"] == 0
    stage1.main(root)
    export.main([*root, "--stage", "1", "--out", str(tmp_path / "out")])
    reader = ShardReader(read_dataset(str(tmp_path / "out")), "train")
    stored = {sample.text: sample.image for sample in (reader.read(0, row) for row in range(reader.sizes()[0]))}
    assert stored == {"a red field": picture("red"), "a green field": picture("green")}


def test_a_missing_tar_fails_the_part_and_says_which(output: Path, tmp_path: Path, ray_session: None) -> None:
    root = ["--root", str(tmp_path / "root")]
    ingest.main([*root, "img2dataset", str(output / "00000.parquet")])
    (output / "00000.tar").unlink()
    failed = fetch.main(root)["failed"]
    assert list(failed) == ["img2dataset/000000-0000000000"] and "00000.tar" in failed["img2dataset/000000-0000000000"]


@pytest.mark.parametrize("message", MESSAGES)
def test_its_messages_become_our_classes(message: str) -> None:
    assert error_of("failed_to_download", message) == MESSAGES[message]
    assert MESSAGES[message] in ERRORS


def test_resize_failures_too() -> None:
    assert error_of("failed_to_resize", "image too large") == "too_many_pixels"
    assert error_of("failed_to_resize", "Image decoding error") == "not_an_image"


@pytest.mark.slow
def test_the_engine_img2dataset_asks_only_what_our_policy_allows(tmp_path: Path) -> None:
    from infra.benchmarks.peers import peer
    from pipelines.fetching import img2dataset

    chosen = FetchSettings(size=32, img2dataset_python=str(peer("img2dataset")), retries=0, total_timeout=5)
    with hostile_web.serve() as (port, asked):
        chosen = chosen.model_copy(update={"connect_to": {"127.0.0.1": f"127.0.0.1:{port}"}})
        paths = ["ok.jpg", "ok.png", "404", "html", "robots/no.jpg", "noai", "large.jpg"]
        urls = [f"http://127.0.0.1:{port}/{path}" for path in paths]
        urls += ["file:///etc/passwd", "http://10.0.0.1/x.jpg", "http://localhost/x.jpg", f"http://127.0.0.1:{port}/ok.webp"]
        wanted = Wanted(urls, [f"{i:016x}" for i in range(len(urls))], [None] * len(urls))
        storage, ended = Storage(str(tmp_path)), []
        img2dataset.require_img2dataset(chosen)
        found = img2dataset.fetch_chunk(storage, wanted, "images/x.tar", chosen, 100, ended.append).to_pylist()
    errors = [None, None, "http_404", "not_an_image", "robots", "opt_out", "http_404"]
    assert [row["error"] for row in found] == [*errors, "bad_url", "refused_address", "refused_address", None]
    assert asked["/robots/no.jpg"] == 0 and sorted(ended) == list(range(len(urls)))
    for row in (found[0], found[1], found[-1]):
        data = storage.read_range(row["tar"], row["offset"], row["length"])
        assert Image.open(io.BytesIO(data)).size == (43, 32) and row["width"] == 64 and row["phash"] is not None
    assert found[0]["sha256"] == hashlib.sha256(hostile_web.picture()).hexdigest()


def test_an_engine_that_is_not_there_is_a_wrong_request(tmp_path: Path) -> None:
    from pipelines.fetching import img2dataset

    (tmp_path / "python").write_text("#!/bin/sh\necho 'ModuleNotFoundError: No module named img2dataset' >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(RequestError, match=r"cannot import it .* fetch\.img2dataset_python"):
        img2dataset.require_img2dataset(FetchSettings(img2dataset_python=str(tmp_path / "python")))
