"""A chunk accounts for every URL, ends in time, and stores the image of each URL under its key."""

import errno
import hashlib
from itertools import count
from pathlib import Path

import pytest

from infra.benchmarks.tools.object_store import free_port
from pipelines.fetching import chunks, decoding
from pipelines.fetching.chunks import NoNetwork
from pipelines.fetching.plan import Requests
from pipelines.manifest.pictures import checksum_of
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import FAMILIES
from tests.support import hostile_web
from tests.support.fetching import fetch_urls, patient

PNG = hostile_web.picture(format="PNG")


def test_stored_images_are_those_of_their_url(tmp_path: Path) -> None:
    storage, names = Storage(str(tmp_path)), ("ok.jpg", "ok.png", "404", "moved")
    with hostile_web.serve() as (port, _):
        allowed = patient(connect_to={"hostile.test": f"127.0.0.1:{port}"})
        rows = dict(zip(names, fetch_urls(storage, [f"http://hostile.test/{name}" for name in names], allowed), strict=True))
    for name, body in {"ok.jpg": hostile_web.picture(), "moved": hostile_web.picture(), "ok.png": PNG}.items():
        row = rows[name]
        assert storage.read_range(row["tar"], row["offset"], row["length"]) == body
        assert (row["width"], row["height"], row["sha256"]) == (64, 48, hashlib.sha256(body).hexdigest())
    assert (rows["ok.png"]["mime"], rows["404"]["tar"]) == ("image/png", None)


@pytest.mark.parametrize("resize", ["keep", "shorter_side", "border"])
def test_the_checksum_is_that_of_the_stored_bytes(tmp_path: Path, resize: str) -> None:
    storage = Storage(str(tmp_path))
    with hostile_web.serve() as (port, _):
        settings = patient(connect_to={"hostile.test": f"127.0.0.1:{port}"}, resize=resize, size=32)
        rows = fetch_urls(storage, ["http://hostile.test/ok.jpg", "http://hostile.test/ok.png"], settings)
    for row in rows:
        assert row["stored_checksum"] == checksum_of(storage.read_range(row["tar"], row["offset"], row["length"]))


def test_the_fetch_schema_has_the_columns_of_the_contract() -> None:
    assert FAMILIES["fetch"].names == (
        "sample_id status error http_status bytes mime sha256 phash pdq pdq_quality width height tar offset length "
        "stored_checksum tar_stamp".split()
    )


def test_a_tar_of_a_killed_chunk_is_made_again_with_the_same_bytes(tmp_path: Path) -> None:
    with hostile_web.serve() as (port, _):
        urls = [f"http://hostile.test/{name}" for name in ("ok.png", "404", "ok.jpg", "ok.webp")]
        tars = []
        for turn in range(2):
            storage = Storage(str(tmp_path / str(turn)))
            allowed = patient(connect_to={"hostile.test": f"127.0.0.1:{port}"})
            fetch_urls(storage, urls, allowed)
            tars.append(storage.read("images/x.tar"))
    assert tars[0] == tars[1]


def test_an_image_whose_bytes_its_publisher_did_not_hash_is_rejected(tmp_path: Path) -> None:
    body = hostile_web.picture()
    md5, sha256 = hashlib.md5(body).hexdigest(), hashlib.sha256(body).hexdigest()
    with hostile_web.serve() as (port, _):
        allowed = patient(connect_to={"hostile.test": f"127.0.0.1:{port}"})
        urls = [f"http://hostile.test/ok.jpg?{i}" for i in range(4)]
        hashes = [md5, sha256.upper(), "0" * 64, None]
        rows = fetch_urls(Storage(str(tmp_path / "a")), urls, allowed, hashes=hashes)
        unverified = fetch_urls(
            Storage(str(tmp_path / "b")), urls, allowed.model_copy(update={"verify_hash": False}), hashes=hashes
        )
    assert [row["error"] for row in rows] == [None, None, "hash_mismatch", None]
    assert [row["error"] for row in unverified] == [None] * 4


def test_a_chunk_ends_when_its_time_is_over_and_accounts_for_every_url(tmp_path: Path) -> None:
    with hostile_web.serve() as (port, _):
        urls = ["http://hostile.test/ok.jpg", *(f"http://hostile.test/drip?{i}" for i in range(60))]
        settings = patient(connect_to={"hostile.test": f"127.0.0.1:{port}"}, per_host=4)
        rows = fetch_urls(Storage(str(tmp_path)), urls, settings, seconds=6)
    assert [row["error"] for row in rows] == [None, *["out_of_time"] * 60]


def test_a_chunk_of_a_machine_without_network_is_not_committed(tmp_path: Path) -> None:
    closed = free_port()
    settings = patient(connect_to={"gone.test": f"127.0.0.1:{closed}"}, breaker=1000, robots=False)
    with pytest.raises(NoNetwork, match="is this machine online"):
        fetch_urls(Storage(str(tmp_path)), [f"http://{i}.gone.test/x" for i in range(60)], settings)
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize("raised, error", [(KeyError("of a library"), "internal_error"), (MemoryError(), "out_of_memory")])
@pytest.mark.parametrize("owner, function", [(chunks.Client, "get"), (decoding, "identify"), (decoding, "prepare")])
def test_an_exception_that_no_class_foresees_ends_one_url(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    owner: object,
    function: str,
    raised: Exception,
    error: str,
) -> None:
    original, calls = getattr(owner, function), count()

    def second_call_fails(*arguments: object) -> object:
        if next(calls) == 1:
            raise raised
        return original(*arguments)

    monkeypatch.setattr(owner, function, second_call_fails)
    with hostile_web.serve() as (port, _):
        settings = patient(connect_to={"hostile.test": f"127.0.0.1:{port}"}, concurrency=1)
        rows = fetch_urls(Storage(str(tmp_path)), [f"http://hostile.test/ok.png?{i}" for i in range(3)], settings)
    assert [row["error"] for row in rows] == [None, error, None]
    assert f"'http://hostile.test/ok.png?1' is {error}: {type(raised).__name__}" in capfd.readouterr().err


def test_a_fault_ends_the_chunk_at_once_and_keeps_the_results(tmp_path: Path) -> None:
    calls = count()

    def finished(index: int) -> None:
        if next(calls) == 1:
            raise KeyError("a fault of ours")

    with hostile_web.serve() as (port, _):
        settings = patient(connect_to={"hostile.test": f"127.0.0.1:{port}"}, retries=0)
        urls = [f"http://hostile.test/{name}" for name in ("ok.jpg", "404", "silent", "silent?1")]
        requests = Requests(urls, [f"{i:016x}" for i in range(4)], [None] * 4)
        table = chunks.fetch_chunk(Storage(str(tmp_path)), requests, "images/x.tar", settings, 86_400, finished)
    assert table["error"].to_pylist() == [None, "http_404", "interrupted", "interrupted"]
    assert table["tar"].to_pylist() == ["images/x.tar", None, None, None]


def test_a_full_disk_is_no_fault_of_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(self: chunks.Spool, index: int, data: bytes, extension: str) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(chunks.Spool, "add", add)
    with hostile_web.serve() as (port, _), pytest.raises(OSError, match="no space left"):
        settings = patient(connect_to={"hostile.test": f"127.0.0.1:{port}"})
        fetch_urls(Storage(str(tmp_path)), ["http://hostile.test/ok.jpg", "http://hostile.test/silent"], settings, seconds=86_400)
